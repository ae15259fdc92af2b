/**
 * Starts a timer: the returned function gives the CPU milliseconds that this thread has used since. It is the lesser of
 * wall time, which also passes while the thread has no core, and the process's CPU time, which includes other threads.
 */
export function cpuTimer(): () => number {
  const startedMs = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return Math.min(performance.now() - startedMs, (user + system) / 1000);
  };
}
