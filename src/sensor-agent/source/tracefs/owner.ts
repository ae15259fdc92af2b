/** Finds the living process that uses a trace instance, by its open files. */
import { readdirSync, readlinkSync } from 'node:fs';
import { pids } from '../process-reader.js';

/** The pid of a process (not this one) that has files of the instance open. */
export function instanceOwner(name: string): number | undefined {
  const part = `/instances/${name}/`;
  for (const pid of pids('/proc')) {
    if (pid === process.pid) continue;
    if (descriptors(pid).some((target) => target.includes(part))) return pid;
  }
  return undefined;
}

/** The paths that a process's descriptors point at; empty when the process is gone or may not be looked into. */
function descriptors(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return '';
      }
    });
  } catch {
    return [];
  }
}
