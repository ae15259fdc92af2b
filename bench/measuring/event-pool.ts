/**
 * 10,000 events by a seed, with all the fields that nodes send unasked: programs with arguments, connections, a part of
 * them in containers.
 */
import type { BusEvent } from '../../src/wire/event/event.js';

const EVENTS = 10_000;
const PROGRAMS = [
  'sh',
  'curl',
  'python3',
  'node',
  'git',
  'make',
  'cc1',
  'nginx',
  'postgres',
  'kubelet',
  'runc',
  'date',
];
const WORDS = [
  '--verbose',
  '-o',
  'json',
  '/var/lib/app/data',
  '--port=8443',
  'build',
  '-c',
  'https://example.org/a',
  'x',
];

/** Places and times are still to be given. */
export type PooledEvent = Omit<BusEvent, 'position' | 'wallNs'>;

export function eventPool(seed = 1): readonly PooledEvent[] {
  let state = seed;
  // Park and Miller's generator.
  const below = (bound: number) => {
    state = (state * 48_271) % 0x7fff_ffff;
    return state % bound;
  };
  return Array.from({ length: EVENTS }, () => pooled(below));
}

function pooled(below: (bound: number) => number): PooledEvent {
  const program = PROGRAMS[below(PROGRAMS.length)]!;
  const pod = below(40);
  const [pid, parentPid] = [1000 + below(60_000), 100 + below(900)];
  const process = {
    ...{ pid, parentPid, comm: program, executable: { path: `/usr/bin/${program}`, name: program } },
    commandArgs: [program, ...Array.from({ length: below(8) }, () => WORDS[below(WORDS.length)]!)],
    ...{ workingDirectory: '/srv/app', user: { id: below(4) * 1000 } },
    creationTimeNs: 1_795_428_123_000_000_000n + BigInt(below(1_000_000)) * 1000n,
    cgroup: { path: `/kubepods.slice/kubepods-burstable.slice/pod${pod}` },
    parent: { pid: parentPid, executable: { path: '/usr/bin/bash', name: 'bash' } },
  };
  const container = pod < 20 ? { container: { id: pod.toString(16).padStart(64, '0') } } : {};
  if (below(5) > 0) {
    const type = ['process.exec', 'process.exec', 'process.fork', 'process.exit'][below(4)]!;
    return { type, topic: 'process', process, ...container };
  }
  const [local, peer] = [
    { address: `10.0.${below(256)}.${below(256)}`, port: 32_768 + below(20_000) },
    { address: `10.1.${below(256)}.${below(256)}`, port: 443 },
  ];
  const network = { type: 'ipv4', transport: 'tcp', local, peer } as const;
  return { type: 'network.tcp.connect', topic: 'network', process, network, ...container };
}
