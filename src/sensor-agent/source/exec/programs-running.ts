/** What runs now, as far as it matters where to look for dynamic linkers. */
import { readlinkSync } from 'node:fs';
import { pids } from '../process-reader.js';

/** Processes that are looked at. */
const PROCESSES_MAX = 4_096;

/** A process of each program in each root: this one, the host's, and those of each container. */
export function programsRunning(): number[] {
  const found = new Map<string, number>();
  for (const pid of [process.pid, ...pids('/proc').slice(0, PROCESSES_MAX)]) {
    const program = programOf(pid);
    if (program !== undefined && !found.has(program)) found.set(program, pid);
  }
  return [...found.values()];
}

/** Processes in which this is the same need the same probes. Undefined: it has ended, or is the kernel's own. */
function programOf(pid: number): string | undefined {
  try {
    return ['ns/mnt', 'root', 'exe'].map((link) => readlinkSync(`/proc/${pid}/${link}`)).join('\0');
  } catch {
    return undefined;
  }
}
