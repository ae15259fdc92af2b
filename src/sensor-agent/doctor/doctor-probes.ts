/**
 * The doctor's trials that reach outside its trace instance: dynamic events
 * (defined, never enabled, removed) and one exec seen with its arguments.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { EXEC_BUFFER_BYTES_PER_CPU, LINGER_PATHS_MS } from '../../limits.js';
import { CALL_POINTS, defineCallPoints } from '../source/calls/call-points.js';
import { defineDatagramPoints, undefineDatagramCopies } from '../source/datagrams/datagram-points.js';
import { ExecArguments } from '../source/exec/exec-arguments.js';
import { definePathPoints, refusedText } from '../source/paths/define-paths.js';
import { PATH_OPERATIONS } from '../source/paths/path-points.js';
import { undefinePoints } from '../source/probe/recorded-points.js';
import { defineUserPoint } from '../source/probe/user-point.js';
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
    otherwise: 'arguments of programs without a dynamic linker cannot be copied, and how processes end is not known',
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

const WAYS = {
  kprobe: "the kernel's own copy, by a probe in the kernel at each exec",
  uprobe:
    "the kernel's own copy, by a probe in each dynamic linker; programs without one are looked up, and missed if they end at once",
  visit: 'read from /proc by a thread that waits for each program: those of the shortest may be missed',
};

const WITH_KPROBES = 'use a kernel with kprobes (CONFIG_KPROBE_EVENTS)';
const WITH_BTF = 'use a kernel with kprobes and BTF (CONFIG_KPROBE_EVENTS, CONFIG_DEBUG_INFO_BTF)';

/** Does each operation on a file of our own, and looks whether its path is told. */
export async function tryPaths(tracefs: string): Promise<Check> {
  const name = 'paths of files';
  const recorderId = `doctor-${process.pid}`;
  const { refused } = await definePathPoints(tracefs, recorderId);
  undefinePoints(tracefs, recorderId);
  const told = PATH_OPERATIONS.filter((operation) => !refused.has(operation));
  const copied = `the kernel's own copy of ${told.join(', ')}`;
  if (refused.size === 0) return { name, state: 'ok', detail: copied };
  if (told.length > 0) return { name, state: 'limited', detail: `${copied}; not of ${refusedText(refused)}` };
  const detail = `of opens only, by the descriptor's link a moment later, if it is still open: ${[...refused.values()].at(-1)}`;
  return { name, state: 'limited', detail, mend: WITH_KPROBES };
}

/** Defines the probes that have what calls name, as far as this kernel says where that is. */
export function tryNames(tracefs: string): Check {
  const name = 'names in calls';
  const recorderId = `doctor-${process.pid}`;
  const { refused } = defineCallPoints(tracefs, recorderId);
  undefinePoints(tracefs, recorderId);
  const told = CALL_POINTS.filter((point) => !refused.has(point));
  const copied = `the kernel's own copy: ${told.join(', ')}`;
  if (refused.size === 0) return { name, state: 'ok', detail: copied };
  const causes = [...refused].map(([point, cause]) => `${point} (${cause})`).join(', ');
  if (told.length > 0) return { name, state: 'limited', detail: `${copied}; not ${causes}` };
  const detail = `what is mounted where and how a memfd is called is not known: ${[...refused.values()][0]}`;
  return { name, state: 'limited', detail, mend: WITH_BTF };
}

/** Runs a program as another user, and looks whether that is told. */
export async function tryUsers(tracefs: string): Promise<Check> {
  const name = 'users of processes';
  const recorderId = `doctor-${process.pid}`;
  const { event, problem } = await defineUserPoint(tracefs, recorderId);
  undefinePoints(tracefs, recorderId);
  if (event !== undefined)
    return { name, state: 'ok', detail: 'as each process changes its own, by a probe in the kernel' };
  const detail = `as it is when a program starts, and a second later; a later change is seen where the process connects or listens: ${problem}`;
  return { name, state: 'limited', detail, mend: WITH_BTF };
}

/** Sends a datagram of our own over the loopback interface, and looks whether probes tell it. */
export async function tryDatagrams(tracefs: string): Promise<Check> {
  const name = 'datagrams and names asked of DNS';
  const recorderId = `doctor-${process.pid}`;
  const { events, problem } = await defineDatagramPoints(tracefs, recorderId);
  undefinePoints(tracefs, recorderId);
  undefineDatagramCopies(tracefs, recorderId);
  if (problem === undefined) {
    const families = events.some((event) => event.endsWith('/udp_send6')) ? 'IPv4 and IPv6' : 'IPv4';
    return { name, state: 'ok', detail: `told by probes in the kernel, of ${families}` };
  }
  const detail = `by the routes that the kernel looks up: not what connected sockets send, no names (${problem})`;
  return { name, state: 'limited', detail, mend: WITH_KPROBES };
}

/** Runs a program and waits for its arguments. */
export async function tryArguments(tracefs: string): Promise<Check> {
  const name = 'arguments of programs';
  const notes: string[] = [];
  let seen: (record: ExecRecord) => void = () => {};
  const sink: SourceSink = {
    page: () => {},
    horizon: () => {},
    queries: () => {},
    note: (_reason, message) => notes.push(message),
    exec: (record) => seen(record),
    settle: () => {},
  };
  const clock = new TraceClock(uptimeNow);
  const recorderId = `doctor-${process.pid}`;
  const options = {
    ...{ tracefs, name: `backplane-${recorderId}-exec`, recorderId, sink, nowNs: () => clock.nowNs() },
    bufferBytesPerCpu: EXEC_BUFFER_BYTES_PER_CPU,
  };
  const execs = new ExecArguments(options, true);
  try {
    await execs.start();
  } catch (cause) {
    return { name, state: 'missing', detail: `${(cause as Error).message}: no arguments of programs` };
  }
  const draining = setInterval(() => execs.drain(), LINGER_PATHS_MS);
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
    const { by } = execs;
    if (record?.missed === false && by !== undefined && by !== 'visit') return { name, state: 'ok', detail: WAYS[by] };
    if (record?.missed === false) {
      const mend = notes[0] ?? 'use a kernel with kprobes or uprobes (CONFIG_KPROBE_EVENTS, CONFIG_UPROBE_EVENTS)';
      return { name, state: 'limited', detail: WAYS.visit, mend };
    }
    const detail =
      notes[0] ?? (record === undefined ? 'a program that was run was not seen' : 'its arguments were not readable');
    return { name, state: 'missing', detail, mend: "let the agent share the host's pid namespace (hostPID)" };
  } finally {
    clearInterval(draining);
    await execs.stop();
  }
}
