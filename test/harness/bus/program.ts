/** Programs that a test starts, to be seen by an observer of everything. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { EventLine, Observer } from './bus.js';

/**
 * A shell that lives until its event was seen, and again until its arguments were read in time: on a crowded machine
 * they may be missed, and then the event says so.
 *
 * @param observer gets every event of the topic `process`, whole
 */
export async function runSeen(observer: Observer, ...args: string[]): Promise<EventLine> {
  return runShellSeen(observer, '/bin/sh', ...args);
}

/** The same with a shell of another path. */
export async function runShellSeen(observer: Observer, shell: string, ...args: string[]): Promise<EventLine> {
  for (;;) {
    const child = spawn(shell, ['-c', 'read line', ...args], { stdio: ['pipe', 'ignore', 'ignore'] });
    const closed = once(child, 'close');
    // Nobody else has a child of this process with that pid.
    const event = await observer.sees(
      ({ type, process: { pid, parentPid } = { pid: 0 } }) =>
        type === 'process.exec' && pid === child.pid && parentPid === process.pid,
    );
    child.stdin.end();
    await closed;
    if (!event.process!.commandArgsMissed) return event;
  }
}
