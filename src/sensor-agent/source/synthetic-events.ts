/**
 * What the synthetic source makes up: processes that are forked, renamed,
 * execute a program, connect somewhere, signal their parent and exit, one step
 * an event, each process on one lane.
 */
import { BUILTIN_FORMATS } from './builtin-formats.js';
import type { ProcessSnapshot } from './source.js';
import type { FieldValue } from './tracefs/decoder.js';
import type { EventFormat } from './tracefs/format.js';

export interface SyntheticEvent {
  readonly lane: number;
  readonly format: EventFormat;
  readonly pid: number;
  readonly values: Readonly<Record<string, FieldValue>>;
  /** Of an exec. */
  readonly process?: ProcessSnapshot;
}

const PROGRAMS = ['/usr/bin/curl', '/usr/bin/sh', '/usr/bin/python3', '/opt/app/worker', '/tmp/x', '/usr/sbin/sshd'];
const PID_FIRST = 100_000;
const PIDS = 3_000_000;
const PARENT = 4242;
const TCP_ESTABLISHED = 1;
const TCP_SYN_SENT = 2;
const TCP_CLOSE = 7;

type Step = (p: Made) => Omit<SyntheticEvent, 'lane'>;
interface Made {
  readonly pid: number;
  readonly program: string;
  readonly comm: string;
  readonly random: number;
  readonly args: readonly string[];
}

/** A process's life; by far most of a real node's events are these. */
const STEPS: readonly Step[] = [
  ({ pid }) => step('task_newtask', PARENT, { pid, comm: 'parent', clone_flags: 0x1200011n, oom_score_adj: 0 }),
  ({ pid, comm }) => step('task_rename', pid, { pid, oldcomm: 'parent', newcomm: comm, oom_score_adj: 0 }),
  exec,
  (p) => socket(p, TCP_CLOSE, TCP_SYN_SENT),
  (p) => socket(p, TCP_SYN_SENT, TCP_ESTABLISHED),
  (p) => socket(p, TCP_ESTABLISHED, TCP_CLOSE),
  ({ pid, comm }) => step('sched_process_exit', pid, { comm, pid, prio: 120, group_dead: true }),
  ({ pid }) =>
    step('signal_generate', pid, { sig: 17, errno: 0, code: 1, comm: 'parent', pid: PARENT, group: 1, result: 0 }),
];

/** Event `index` of a run: the same for the same arguments. */
export function syntheticEvent(index: number, seed: number, numbered: boolean, lanes: number): SyntheticEvent {
  const life = numbered ? index : Math.floor(index / STEPS.length);
  const random = mix(life, seed);
  const program = PROGRAMS[random % PROGRAMS.length]!;
  const comm = program.slice(program.lastIndexOf('/') + 1);
  const args = numbered ? [program, `--sequence=${index}`] : [program, '--id', String(life)];
  const made = { pid: PID_FIRST + (life % PIDS), program, comm, random, args };
  const act = numbered ? exec : STEPS[index % STEPS.length]!;
  return { lane: life % lanes, ...act(made) };
}

function exec({ pid, program, comm, random, args }: Made): Omit<SyntheticEvent, 'lane'> {
  const process: ProcessSnapshot = {
    pid,
    parentPid: PARENT,
    comm,
    executablePath: program,
    args,
    workingDirectory: '/',
    uid: random % 3 === 0 ? 0 : 1000,
    cgroup: '/system.slice/synthetic.service',
  };
  return { ...step('sched_process_exec', pid, { filename: program, pid, old_pid: pid }), process };
}

function socket({ pid, random }: Made, oldstate: number, newstate: number): Omit<SyntheticEvent, 'lane'> {
  const saddr = [10, 0, 0, 1];
  const daddr = [10, (random >>> 8) & 255, (random >>> 16) & 255, 1 + ((random >>> 24) % 254)];
  const mapped = (address: readonly number[]) => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...address];
  return step('inet_sock_set_state', pid, {
    skaddr: 0xffff_8880_0000_0000n + BigInt(pid) * 64n,
    oldstate,
    newstate,
    sport: 32_768 + (random % 28_000),
    dport: random % 2 === 0 ? 443 : 5432,
    family: 2,
    protocol: 6,
    saddr,
    daddr,
    saddr_v6: mapped(saddr),
    daddr_v6: mapped(daddr),
  });
}

function step(name: string, pid: number, values: Record<string, FieldValue>): Omit<SyntheticEvent, 'lane'> {
  return { format: BUILTIN_FORMATS.byName(name)!, pid, values };
}

/** A 32-bit hash (murmur3's finaliser): independent of how many were made before. */
function mix(value: number, seed: number): number {
  let h = Math.imul(value ^ Math.imul(seed, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13), 0x27d4eb2f);
  return (h ^ (h >>> 16)) >>> 0;
}
