/**
 * The doctor's trials that reach outside its trace instance: dynamic events
 * (defined, never enabled, removed) and one exec seen by the exec lane.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DRAIN_LIVE_MS } from '../../limits.js';
import { ExecLane } from '../source/exec/exec-lane.js';
import type { ExecRecord, SourceSink } from '../source/source.js';
import { TraceClock, uptimeNow } from '../source/tracefs/clock.js';
import { put } from '../source/tracefs/put.js';
import type { Check } from './doctor-check.js';

/** How long the program stays alive: the lane's threads may still be starting. */
const EXEC_WAIT_MS = 5000;

interface Probe {
  readonly name: string;
  /** The file that takes the definition. */
  readonly file: string;
  readonly definition: (event: string) => string;
  readonly otherwise: string;
}

const PROBES: readonly Probe[] = [
  {
    name: 'uprobes',
    file: 'uprobe_events',
    definition: (event) => `p:${event} ${process.execPath}:0x1000`,
    otherwise: 'arguments of every exec cannot be had from the dynamic linker',
  },
  {
    name: 'kprobes',
    file: 'kprobe_events',
    definition: (event) => `p:${event} do_exit`,
    otherwise: 'kernel functions cannot be watched',
  },
  {
    name: 'event probes',
    file: 'dynamic_events',
    definition: (event) => `e:${event} sched/sched_process_exec pid=$pid:s32`,
    otherwise: 'strings behind system call pointers cannot be read',
  },
];

/** Tries dynamic events. The default profile needs none of them, so a missing one is `limited`. */
export function tryDynamicEvents(tracefs: string): Check[] {
  return PROBES.map(({ name, file, definition, otherwise }) => {
    const path = join(tracefs, file);
    const event = `backplane_doctor_${process.pid}/${file}`;
    if (!existsSync(path)) return { name, state: 'limited', detail: `${file} is not there: ${otherwise}` };
    try {
      put(path, definition(event));
      put(path, `-:${event}`);
      return { name, state: 'ok', detail: 'defined and removed one' };
    } catch (cause) {
      return { name, state: 'limited', detail: `${(cause as Error).message}: ${otherwise}` };
    }
  });
}

/** Runs `true` and waits for its arguments. */
export async function tryExecLane(tracefs: string): Promise<Check> {
  const name = 'exec lane';
  const notes: string[] = [];
  let seen: (record: ExecRecord) => void = () => {};
  let lane: ExecLane;
  const sink: SourceSink = {
    page: () => {},
    horizon: () => {},
    note: (_reason, message) => notes.push(message),
    exec: (record) => seen(record),
  };
  try {
    const clock = new TraceClock(uptimeNow);
    lane = new ExecLane(tracefs, `backplane-doctor-${process.pid}-exec`, sink, () => clock.nowNs());
  } catch (cause) {
    return { name, state: 'missing', detail: `${(cause as Error).message}: no arguments of programs` };
  }
  const draining = setInterval(() => lane.drain(), DRAIN_LIVE_MS);
  try {
    const record = await new Promise<ExecRecord | undefined>((done) => {
      const timer = setTimeout(() => done(undefined), EXEC_WAIT_MS);
      const child = spawn('sleep', ['5'], { stdio: 'ignore' });
      child.on('error', () => done(undefined));
      seen = (candidate) => {
        if (candidate.pid !== child.pid) return;
        clearTimeout(timer);
        child.kill();
        done(candidate);
      };
    });
    if (record?.missed === false) return { name, state: 'ok', detail: `saw ${record.process?.args?.join(' ')}` };
    const detail =
      notes[0] ?? (record === undefined ? 'a program that was run was not seen' : 'its arguments were not readable');
    return { name, state: 'missing', detail, mend: "let the agent share the host's pid namespace (hostPID)" };
  } finally {
    clearInterval(draining);
    await lane.stop();
  }
}
