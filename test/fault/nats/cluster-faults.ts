/** What is done to a cluster of brokers on NATS: docs/cluster.md says for each what the right answer is. */
import { closeSync, cpSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { keptStream } from '../../../src/broker/cluster/nats/coordination-streams.js';
import { partitionStream } from '../../../src/broker/log/jetstream/subjects.js';
import { partitionOf } from '../../../src/broker/log/partition-log.js';
import type { Relay } from '../../harness/cluster/relay.js';
import { CLUSTER, type NatsCluster, type NatsMachine, SLOW_MS, STREAMS } from '../../harness/nats/nats-cluster.js';
import { until } from '../../harness/until.js';
import * as party from '../party-faults.js';
import { type FaultContext, taking } from '../party-faults.js';
import { bootNs } from '../run.js';
import { ready, rejoin } from './readiness.js';

type Context = FaultContext<NatsCluster>;
type Fault = party.Fault<NatsCluster>;

export const CLUSTER_FAULTS = [
  'nats-kill',
  'nats-freeze',
  'nats-partition',
  'nats-disk-full',
  'nats-disks-full',
  'nats-bit-flip',
  'nats-power-cut',
  'narrow-nats',
  'broker-kill',
  'broker-cut',
  'node-moves',
  'subscriber-moves',
  'member-kill',
  'member-freeze',
  'member-slow',
  'member-moves',
  ...party.PARTY_FAULTS,
] as const;

export type ClusterFaultName = (typeof CLUSTER_FAULTS)[number];

/** Bits on a disk: NATS keeps no promise then, but what is missing must be stated. */
const LOSSY: readonly ClusterFaultName[] = ['nats-bit-flip'];
export const LOSSLESS_OF_CLUSTER: readonly ClusterFaultName[] = CLUSTER_FAULTS.filter((name) => !LOSSY.includes(name));
/** They take half a minute and more. */
export const SLOW_OF_CLUSTER: readonly ClusterFaultName[] = ['nats-power-cut', 'nats-disks-full'];

const MOVE_MS = 1_000;
const AHEAD_MS = 20_000;
const THIRD_LATER_MS = 10_000;
const BRIEFLY_AHEAD_MS = 8_000;
const BRIEFLY_LATER_MS = 3_000;
/** NATS's own: what it acknowledged within it a power cut may take, and what nobody can send again is gone. */
const SYNC_INTERVAL_MS = 120_000;

/** A nats-server that no other fault has, while the two others are well: the leader of some node's frames, or a follower. */
async function takingMachine(context: Context, act: (machine: NatsMachine, role: string) => Promise<void>) {
  const { cluster, random, note } = context;
  if (cluster.machines.some(({ busy }) => busy)) return note('  another server is in trouble');
  const leader = await cluster.leader(someStream(context));
  const led = random.between(0, 1) === 0;
  const candidates = cluster.machines.filter((machine) => (machine === leader) === led);
  await taking(context, candidates.length > 0 ? candidates : cluster.machines, (machine) =>
    act(machine, led ? 'a leader' : 'a follower'),
  );
}

/** All of them; none where one is in trouble, or has not got back since a power cut: two of them would be all there are. */
async function takingAll({ cluster, note }: Context, act: () => Promise<void>): Promise<void> {
  if (cluster.machines.some(({ busy, rejoining }) => busy || rejoining)) return note('  another server is in trouble');
  for (const machine of cluster.machines) machine.busy = true;
  try {
    await act();
  } finally {
    for (const machine of cluster.machines) machine.busy = false;
  }
}

/** One that has frames. */
function someStream({ cluster, random }: Context): string {
  const nodes = cluster.agents.flatMap(({ recorders }) => [...recorders.keys()]);
  return partitionStream(CLUSTER, partitionOf(random.pick(nodes)));
}

const natsKill: Fault = (context) =>
  takingMachine(context, async (machine, role) => {
    const { server, name } = machine;
    const downMs = context.random.between(0, 6_000);
    context.note(`kill -9 ${name}, ${role}, down ${downMs} ms`);
    await server.kill();
    await sleep(downMs);
    server.start();
    await ready(context, [machine]);
  });

const natsFreeze: Fault = (context) =>
  takingMachine(context, async (machine, role) => {
    const { server, name } = machine;
    const ms = context.random.between(300, 12_000);
    context.note(`SIGSTOP ${name}, ${role}, ${ms} ms`);
    server.pause();
    await sleep(ms);
    server.resume();
    await ready(context, [machine]);
  });

/** Brokers still reach it: a leader that is none any more. */
const natsPartition: Fault = (context) =>
  takingMachine(context, async (machine, role) => {
    const { name, namespace } = machine;
    const others = context.cluster.machines.filter((other) => other !== machine);
    const ms = context.random.between(2_000, 12_000);
    context.note(`${name}, ${role}, is cut off from the other servers for ${ms} ms`);
    for (const other of others) namespace.parted(other.namespace);
    await sleep(ms);
    for (const other of others) namespace.joined(other.namespace);
    await ready(context, [machine]);
  });

const natsDiskFull: Fault = (context) =>
  takingMachine(context, async (machine, role) => {
    const ms = context.random.between(2_000, 8_000);
    context.note(`the disk of ${machine.name}, ${role}, is full for ${ms} ms`);
    machine.disk.fill();
    await sleep(ms);
    await withRoomAgain(context, [machine]);
  });

const natsDisksFull: Fault = (context) =>
  takingAll(context, async () => {
    const { cluster, random, note } = context;
    const spared = random.pick(cluster.machines);
    const full = cluster.machines.filter((machine) => machine !== spared);
    const ms = random.between(5_000, 12_000);
    note(`all disks but that of ${spared.name} are full for ${ms} ms`);
    for (const { disk } of full) disk.fill();
    await sleep(ms);
    await withRoomAgain(context, full);
  });

/** A server whose disk was full takes nothing until it is started again. */
async function withRoomAgain(context: Context, machines: readonly NatsMachine[]): Promise<void> {
  for (const { disk, server } of machines) {
    disk.free();
    await server.kill();
    server.start();
  }
  await ready(context, machines);
}

/** In what one server keeps of a stream, while it does not run. */
const natsBitFlip: Fault = (context) => {
  const { cluster, random, lossy } = context;
  const picked = random.between(0, 1) === 0 ? someStream(context) : random.pick(STREAMS);
  // What is lost of frames must be stated; commits are given again.
  lossy.log = true;
  return takingMachine(context, async (machine, role) => {
    const { server, name, disk } = machine;
    await server.kill();
    const blocksOf = (stream: string) => {
      const dir = join(disk.dir, 'jetstream/$G/streams', stream, 'msgs');
      const files = readdirSync(dir).map((file) => join(dir, file));
      return files.filter((file) => file.endsWith('.blk') && statSync(file).size > 0);
    };
    // Nothing may have been published, for example; frames there are.
    const stream = blocksOf(picked).length > 0 ? picked : someStream(context);
    const [block] = blocksOf(stream);
    if (block !== undefined)
      context.note(`a bit at ${flipBit(block, context)} of ${block} of ${name}, ${role}, is flipped`);
    if (stream === keptStream(CLUSTER).stream) cluster.cuts.push({ fromMs: 0, cutMs: Date.now(), toMs: Date.now() });
    server.start();
    await ready(context, [machine]);
  });
};

function flipBit(file: string, { random }: Context): number {
  const fd = openSync(file, 'r+');
  try {
    const at = random.between(0, statSync(file).size - 1);
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    byte[0]! ^= 1 << random.between(0, 7);
    writeSync(fd, byte, 0, 1, at);
    return at;
  } finally {
    closeSync(fd);
  }
}

/**
 * All servers lose power, and two come back with what had reached their disks some time before. The third, which has all,
 * comes later: if it led, nothing would be lost. Where there is no time to see what NATS makes of it, it comes empty.
 */
const natsPowerCut: Fault = (context) =>
  takingAll(context, async () => {
    const { cluster, random, note, failures, lossy, brief } = context;
    const { machines } = cluster;
    const spared = random.pick(machines);
    const back = machines.filter((machine) => machine !== spared);
    const stream = someStream(context);
    const copyOf = ({ name }: NatsMachine) => join(cluster.dir, `copy-${name}`);
    const storeOf = ({ disk }: NatsMachine) => join(disk.dir, 'jetstream');
    for (const { server } of machines) server.pause();
    const fromNs = bootNs();
    for (const machine of back) cpSync(storeOf(machine), copyOf(machine), { recursive: true });
    for (const { server } of machines) server.resume();
    await sleep(brief ? BRIEFLY_AHEAD_MS : AHEAD_MS);
    const had = await until('the last sequence', () => cluster.lastSequence(stream));
    const nobodyKnows = brokersThatMayNotKnow(cluster);
    for (const subscriber of cluster.subscribers) {
      // What is owed later is said by frames that are lost: no broker can read that any more.
      subscriber.mayBeginAnew = subscriber.asks.refill ? () => true : nobodyKnows;
    }
    for (const { server } of machines) await server.kill();
    const cutMs = Date.now();
    lossy.ends.push({ fromNs, toNs: bootNs() });
    const taken = { fromMs: cutMs - SYNC_INTERVAL_MS, cutMs, toMs: Number.POSITIVE_INFINITY };
    cluster.cuts.push(taken);
    for (const machine of back) {
      rmSync(storeOf(machine), { recursive: true });
      cpSync(copyOf(machine), storeOf(machine), { recursive: true });
      rmSync(copyOf(machine), { recursive: true });
    }
    for (const { server } of back) server.start();
    const has = await until('the last sequence of what is left', () => cluster.lastSequence(stream));
    note(`power cut: ${stream} is at ${has} on ${back.map(({ name }) => name)}, was at ${had}`);
    if (has >= had) failures.push(`the power cut took nothing of ${stream}: ${has} of ${had}`);
    await sleep(brief ? BRIEFLY_LATER_MS : THIRD_LATER_MS);
    const isWhole = () => {
      taken.toMs = Date.now();
    };
    if (brief) {
      rmSync(storeOf(spared), { recursive: true });
      isWhole();
    }
    spared.server.start();
    if (!brief) void rejoin(context, spared).then(isWhole);
    await ready(context, machines);
  });

/** Whether a broker was started since, or was in trouble and may not have read all: it does not know what was lost. */
function brokersThatMayNotKnow({ brokers }: NatsCluster): () => boolean {
  const starts = brokers.map((broker) => (broker.busy ? -1 : broker.starts));
  return () => brokers.some((broker, at) => broker.starts !== starts[at]);
}

/** Of a server or a broker. */
const narrowNats: Fault = (context) =>
  party.narrowed(context, [...context.cluster.machines, ...context.cluster.brokers], [500, 4_000]);

const brokerKill: Fault = (context) =>
  taking(context, context.cluster.brokers, async (broker) => {
    const downMs = context.random.between(0, 3_000);
    context.note(`kill -9 ${broker.name}, down ${downMs} ms`);
    await broker.end('SIGKILL');
    await sleep(downMs);
    await party.startAgain(broker);
  });

/** From all nats-servers, or from one; agents and subscribers still reach it. */
const brokerCut: Fault = (context) =>
  taking(context, context.cluster.brokers, async ({ name, namespace }) => {
    const { cluster, random, note } = context;
    const from = random.between(0, 2) === 0 ? [random.pick(cluster.machines)] : cluster.machines;
    const ms = random.between(1_000, 15_000);
    note(`${name} is cut off from ${from.map((machine) => machine.name)} for ${ms} ms`);
    for (const machine of from) namespace!.parted(machine.namespace);
    await sleep(ms);
    for (const machine of from) namespace!.joined(machine.namespace);
  });

const memberKill: Fault = (context) =>
  taking(context, context.cluster.members, async ({ name, process }) => {
    const downMs = context.random.between(0, 1_000);
    context.note(`kill -9 ${name}, down ${downMs} ms`);
    await process.end('SIGKILL');
    await sleep(downMs);
    process.start();
  });

/** For longer or shorter than brokers wait for it. */
const memberFreeze: Fault = (context) =>
  taking(context, context.cluster.members, async ({ name, process }) => {
    const ms = context.random.between(300, 12_000);
    context.note(`SIGSTOP ${name}, ${ms} ms`);
    process.signal('SIGSTOP');
    await sleep(ms);
    process.signal('SIGCONT');
  });

const memberSlow: Fault = (context) =>
  taking(context, context.cluster.members, async ({ name, process }) => {
    context.note(`${name} is slow for ${SLOW_MS} ms`);
    await process.beSlow();
    await sleep(SLOW_MS);
  });

/** Whoever has a way to both brokers. */
interface Moving {
  readonly name: string;
  readonly relay: Relay;
  busy: boolean;
}

/** From one broker to the other, every second. */
function moves(of: (cluster: NatsCluster) => readonly Moving[]): Fault {
  return (context) =>
    taking(context, of(context.cluster), async ({ name, relay }) => {
      const times = context.random.between(3, 10);
      context.note(`${name} moves ${times} times`);
      for (let at = 0; at < times; at++) {
        relay.only(at % 2);
        await sleep(MOVE_MS);
      }
      relay.only(undefined);
    });
}

export const CLUSTER_ACTS: Readonly<Record<ClusterFaultName, Fault>> = {
  'nats-kill': natsKill,
  'nats-freeze': natsFreeze,
  'nats-partition': natsPartition,
  'nats-disk-full': natsDiskFull,
  'nats-disks-full': natsDisksFull,
  'nats-bit-flip': natsBitFlip,
  'nats-power-cut': natsPowerCut,
  'narrow-nats': narrowNats,
  'broker-kill': brokerKill,
  'broker-cut': brokerCut,
  'node-moves': moves(({ agents }) => agents),
  'subscriber-moves': moves(({ subscribers }) => subscribers),
  'member-kill': memberKill,
  'member-freeze': memberFreeze,
  'member-slow': memberSlow,
  'member-moves': moves(({ members }) => members),
  ...party.PARTY_ACTS,
};
