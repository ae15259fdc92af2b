/**
 * Makes up the synthetic source's events: processes that are forked, renamed,
 * execute a program, connect somewhere, exit and thereby signal their parent,
 * and services that connect and call the system without end; one step an event,
 * each process on one lane.
 */
import { OWN_ARCHITECTURE, syscallNumber } from '../../../architecture/architecture.js';
import { X64 } from '../../../architecture/x64.js';
import { BUILTIN_FORMATS } from '../builtin-formats.js';
import type { FieldValue } from '../pages/decoder.js';
import type { EventFormat } from '../pages/format.js';
import type { ProcessSnapshot } from '../source.js';
import type { SyntheticKind } from './synthetic-mix.js';

export interface SyntheticEvent {
  readonly lane: number;
  readonly format: EventFormat;
  readonly pid: number;
  readonly values: Readonly<Record<string, FieldValue>>;
  /** The process of an exec; absent for other events. */
  readonly process?: ProcessSnapshot;
}

const PROGRAMS = ['/usr/bin/curl', '/usr/bin/sh', '/usr/bin/python3', '/opt/app/worker', '/tmp/x', '/usr/sbin/sshd'];
/** Below the kernel's largest pid (4,194,304), apart from each other: first pid, how many before they come again. */
const PIDS = { life: [100_000, 3_000_000], process: [3_100_000, 500_000], numbered: [3_600_000, 500_000] } as const;
const PARENT = 4242;
/** Processes that stay. */
const SERVICES = 16;
const SERVICE_PID_FIRST = 90_000;
const TCP_ESTABLISHED = 1;
const TCP_SYN_SENT = 2;
const TCP_CLOSE = 7;

const OWN_ADDRESS = [10, 0, 0, 1];
const OWN_ADDRESS_V6 = mapped(OWN_ADDRESS);

function mapped(address: readonly number[]): number[] {
  return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...address];
}

type Step = (p: Made) => Omit<SyntheticEvent, 'lane'>;
interface Made {
  readonly pid: number;
  readonly program: string;
  readonly comm: string;
  readonly random: number;
  readonly args: readonly string[];
}

const BIRTH: readonly Step[] = [
  ({ pid }) => step('task_newtask', PARENT, { pid, comm: 'parent', clone_flags: 0x1200011n, oom_score_adj: 0 }),
  ({ pid, comm }) => step('task_rename', pid, { pid, oldcomm: 'parent', newcomm: comm, oom_score_adj: 0 }),
  exec,
];
const CONNECTION: readonly Step[] = [
  (p) => socket(p, TCP_CLOSE, TCP_SYN_SENT),
  (p) => socket(p, TCP_SYN_SENT, TCP_ESTABLISHED),
  (p) => socket(p, TCP_ESTABLISHED, TCP_CLOSE),
];
const DEATH: readonly Step[] = [
  ({ pid, comm }) => step('sched_process_exit', pid, { comm, pid, prio: 120, group_dead: true }),
  ({ pid }) =>
    step('signal_generate', pid, { sig: 17, errno: 0, code: 1, comm: 'parent', pid: PARENT, group: 1, result: 0 }),
];

/** A real node's events of the default profile are mostly of these kinds. */
const LIFE: readonly Step[] = [...BIRTH, ...CONNECTION, ...DEATH];
const PROCESS: readonly Step[] = [...BIRTH, ...DEATH];

/** Numbers that this machine names. */
const SYSTEM_CALLS = ['read', 'write', 'close', 'futex', 'epoll_pwait', 'openat'].map(
  (name) => syscallNumber(name, OWN_ARCHITECTURE ?? X64)!,
);

/** Event `ordinal` among those of its kind: the same for the same arguments. */
export function syntheticEvent(
  { kind, ordinal }: { readonly kind: SyntheticKind; readonly ordinal: number },
  seed: number,
  lanes: number,
): SyntheticEvent {
  switch (kind) {
    case 'life':
      return lifeStep(LIFE, kind, ordinal, seed, lanes);
    case 'process':
      return lifeStep(PROCESS, kind, ordinal, seed, lanes);
    case 'numbered': {
      const args = [`--sequence=${ordinal}`];
      return { lane: ordinal % lanes, ...exec(made(pidOf(kind, ordinal), hash(ordinal, seed), args)) };
    }
    case 'network':
      return networkStep(ordinal, seed, lanes);
    case 'syscall':
      return systemCallStep(ordinal, seed, lanes);
  }
}

function lifeStep(
  steps: readonly Step[],
  kind: 'life' | 'process',
  ordinal: number,
  seed: number,
  lanes: number,
): SyntheticEvent {
  const life = Math.floor(ordinal / steps.length);
  const { format, pid, values, process } = steps[ordinal % steps.length]!(lived(kind, life, seed));
  return { lane: life % lanes, format, pid, values, ...(process && { process }) };
}

/** The process that was made last: its steps are mostly asked for one after the other. */
let last: { readonly kind: string; readonly life: number; readonly seed: number; readonly process: Made } | undefined;

function lived(kind: 'life' | 'process', life: number, seed: number): Made {
  if (last?.life !== life || last.kind !== kind || last.seed !== seed) {
    const process = made(pidOf(kind, life), hash(life, seed), ['--id', String(life)]);
    last = { kind, life, seed, process };
  }
  return last.process;
}

/** First every service's exec, then connections, the services taking turns. */
function networkStep(ordinal: number, seed: number, lanes: number): SyntheticEvent {
  if (ordinal < SERVICES) return { lane: ordinal % lanes, ...exec(service(ordinal, seed)) };
  const at = ordinal - SERVICES;
  const connection = Math.floor(at / CONNECTION.length);
  const index = connection % SERVICES;
  const process = { ...service(index, seed), random: hash(connection, seed) };
  return { lane: index % lanes, ...CONNECTION[at % CONNECTION.length]!(process) };
}

function systemCallStep(ordinal: number, seed: number, lanes: number): SyntheticEvent {
  const call = Math.floor(ordinal / 2);
  const index = call % SERVICES;
  const random = hash(call, seed);
  const id = SYSTEM_CALLS[random % SYSTEM_CALLS.length]!;
  const fileDescriptor = BigInt(3 + ((random >>> 8) & 63));
  const bytes = random >>> 16;
  const values =
    ordinal % 2 === 0
      ? { id, args: [fileDescriptor, 0x7ffc_0000_0000n + BigInt(random), BigInt(bytes), 0n, 0n, 0n] }
      : { id, ret: bytes };
  const name = ordinal % 2 === 0 ? 'sys_enter' : 'sys_exit';
  return { lane: index % lanes, ...step(name, SERVICE_PID_FIRST + index, values) };
}

function service(index: number, seed: number): Made {
  return made(SERVICE_PID_FIRST + index, hash(index, seed), ['--service', String(index)]);
}

function made(pid: number, random: number, args: readonly string[]): Made {
  const program = PROGRAMS[random % PROGRAMS.length]!;
  const comm = program.slice(program.lastIndexOf('/') + 1);
  return { pid, program, comm, random, args: [program, ...args] };
}

function pidOf(kind: keyof typeof PIDS, life: number): number {
  const [first, count] = PIDS[kind];
  return first + (life % count);
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
  const daddr = [10, (random >>> 8) & 255, (random >>> 16) & 255, 1 + ((random >>> 24) % 254)];
  return step('inet_sock_set_state', pid, {
    skaddr: 0xffff_8880_0000_0000n + BigInt(pid) * 64n,
    oldstate,
    newstate,
    sport: 32_768 + (random % 28_000),
    dport: random % 2 === 0 ? 443 : 5432,
    family: 2,
    protocol: 6,
    saddr: OWN_ADDRESS,
    daddr,
    saddr_v6: OWN_ADDRESS_V6,
    daddr_v6: mapped(daddr),
  });
}

function step(name: string, pid: number, values: Record<string, FieldValue>): Omit<SyntheticEvent, 'lane'> {
  return { format: BUILTIN_FORMATS.byName(name)!, pid, values };
}

/** A 32-bit hash (murmur3's finaliser): independent of how many were made before. */
function hash(value: number, seed: number): number {
  let h = Math.imul(value ^ Math.imul(seed, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13), 0x27d4eb2f);
  return (h ^ (h >>> 16)) >>> 0;
}
