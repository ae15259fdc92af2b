/**
 * CPU time in milliseconds that this thread uses from here to the call of what is returned. Where the thread is kept
 * from its core time passes without any being used, and what other threads use meanwhile is not its own: it is the
 * lesser of the two.
 */
export function cpuTimer(): () => number {
  const startedMs = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return Math.min(performance.now() - startedMs, (user + system) / 1000);
  };
}
