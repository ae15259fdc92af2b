/** One function per fault: it does its worst to somebody who is free, and puts things right again. */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../harness/cluster/driver.js';
import { refused } from '../harness/cluster/namespace.js';
import { AgentParty, BrokerParty, type Exit, type Party } from '../harness/cluster/party.js';
import { Subscriber } from '../harness/cluster/subscriber.js';
import type { Recorded } from '../harness/oracle/recorded.js';
import { settled } from '../harness/until.js';
import type { FaultName, Random } from './schedule.js';

export interface FaultContext {
  readonly cluster: Cluster;
  readonly random: Random;
  /** What recorders held before somebody damaged them. */
  readonly recorded: Recorded;
  /** What may be lost since: every node's, or these. */
  readonly lossy: { log: boolean; readonly nodes: Set<string> };
  /** Adds a line to the history that is printed when the run fails. */
  readonly note: (text: string) => void;
  /** Violations that a fault itself found. */
  readonly failures: string[];
}

export type Fault = (context: FaultContext) => Promise<void>;

const AWAY_MS = 20_000;
const INTERRUPTED = 130;
/** A younger process may not listen for signals yet, and SIGTERM would kill it. */
const LISTENS_MS = 10_000;

/** Runs with one of the candidates that no other fault has; does nothing when all are taken. */
async function taking<P extends Party>(
  { random, note }: FaultContext,
  candidates: readonly P[],
  act: (party: P) => Promise<void>,
): Promise<void> {
  const free = candidates.filter((party) => !party.busy);
  if (free.length === 0) return note('  nobody is free for it');
  const party = random.pick(free);
  party.busy = true;
  try {
    await act(party);
  } finally {
    party.busy = false;
  }
}

async function startAgain(party: Party): Promise<void> {
  party.start();
  if (party instanceof BrokerParty) await party.serving();
}

/** Adds to the history how the process ended, and a violation where it failed. */
async function ended({ failures }: FaultContext, party: Party, end: Promise<Exit>): Promise<Exit | undefined> {
  const exit = await settled(`the end of ${party.name}`, end, () => party.stderr).catch(() => undefined);
  if (exit === undefined) failures.push(`${party.name} did not end on its signal: ${party.stderr}`);
  return exit;
}

const kill: Fault = (context) =>
  taking(context, context.cluster.parties, async (party) => {
    const downMs = context.random.between(0, 3_000);
    context.note(`kill -9 ${party.name}, down ${downMs} ms`);
    await party.end('SIGKILL');
    await sleep(downMs);
    await startAgain(party);
  });

const freeze: Fault = (context) =>
  taking(context, context.cluster.parties, async (party) => {
    const ms = context.random.between(300, 12_000);
    context.note(`SIGSTOP ${party.name}, ${ms} ms`);
    party.signal('SIGSTOP');
    await sleep(ms);
    party.signal('SIGCONT');
  });

/** Streams end with a cursor, and everybody ends by itself. */
const terminate: Fault = (context) =>
  taking(context, context.cluster.parties, async (party) => {
    context.note(`SIGTERM ${party.name}`);
    const exit = await ended(context, party, party.end('SIGTERM'));
    const expected = party instanceof Subscriber ? INTERRUPTED : 0;
    if (exit?.signal === 'SIGTERM' && performance.now() - party.startedMs < LISTENS_MS)
      context.note(`${party.name} had just been started`);
    else if (exit?.code === 1 && /: no broker answers/.test(party.stderr)) context.note(`${party.name} had given up`);
    else if (exit && exit.code !== expected)
      context.failures.push(`${party.name} ended with ${exit.signal ?? exit.code} on SIGTERM: ${party.stderr}`);
    await startAgain(party);
  });

const terminateTwice: Fault = (context) => {
  const { cluster, random, note, failures } = context;
  return taking<Party>(context, [cluster.broker, ...cluster.agents], async (party) => {
    const betweenMs = random.between(0, 50);
    note(`SIGTERM ${party.name}, and again after ${betweenMs} ms`);
    const end = party.end('SIGTERM');
    await sleep(betweenMs);
    party.signal('SIGTERM');
    const exit = await ended(context, party, end);
    const code = exit?.signal === 'SIGTERM' && performance.now() - party.startedMs < LISTENS_MS ? 0 : exit?.code;
    if (exit && code !== 0 && code !== INTERRUPTED)
      failures.push(`${party.name} ended with ${exit.signal ?? exit.code} on a second SIGTERM: ${party.stderr}`);
    await startAgain(party);
  });
};

const brokerAway: Fault = (context) =>
  taking(context, [context.cluster.broker], async (broker) => {
    context.note(`broker away for ${AWAY_MS} ms`);
    await broker.end('SIGKILL');
    await sleep(AWAY_MS);
    await startAgain(broker);
  });

const readerStalls: Fault = (context) =>
  taking(context, context.cluster.subscribers, async (subscriber) => {
    const ms = context.random.between(5_000, 20_000);
    context.note(`${subscriber.name} does not read for ${ms} ms`);
    subscriber.stall();
    await sleep(ms);
    subscriber.readOn();
  });

/** The parties that have a network between them and the broker. */
const linked = ({ agents, subscribers }: Cluster) => [...agents, ...subscribers];

const halfOpen: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, relay }) => {
    context.note(`connections of ${name} are lost in silence`);
    relay.halfOpen();
  });

const partition: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, relay }) => {
    const ms = context.random.between(500, 8_000);
    context.note(`${name} is cut off for ${ms} ms`);
    relay.partition();
    await sleep(ms);
    relay.heal();
  });

const slowLink: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, relay }) => {
    const { random, note } = context;
    const quality = { delayMs: random.between(5, 300), bytesPerSecond: random.between(20, 500) * 1024 };
    const ms = random.between(2_000, 8_000);
    note(`${name} has ${quality.delayMs} ms of delay and ${quality.bytesPerSecond} bytes a second for ${ms} ms`);
    relay.quality = quality;
    await sleep(ms);
    relay.heal();
  });

/** The kernel loses packets; connections survive it. */
const linkDown: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, namespace }) => {
    const ms = context.random.between(500, 12_000);
    context.note(`the link of ${name} is down for ${ms} ms`);
    namespace!.down();
    await sleep(ms);
    namespace!.up();
  });

const narrowLink: Fault = (context) =>
  taking(context, linked(context.cluster), async ({ name, namespace }) => {
    const kilobitsPerSecond = context.random.between(100, 2_000);
    const ms = context.random.between(2_000, 8_000);
    context.note(`the link of ${name} carries ${kilobitsPerSecond} kbit/s for ${ms} ms`);
    namespace!.narrow(kilobitsPerSecond);
    await sleep(ms);
    namespace!.widen();
  });

const clockStep: Fault = (context) =>
  taking(context, context.cluster.agents, async (agent) => {
    const ms = context.random.between(-3_600_000, 3_600_000);
    context.note(`the clock of ${agent.name} is set by ${ms} ms`);
    agent.stepClock(ms);
  });

/** A new boot, in order: positions begin anew in a later epoch, and nothing is missing. */
const reboot: Fault = (context) =>
  taking(context, context.cluster.agents, async (agent) => {
    context.note(`the machine of ${agent.name} boots anew`);
    // An agent killed right after its start closes nothing, so nobody knows what the one before it left unstated.
    const begun = performance.now() - agent.startedMs > LISTENS_MS;
    const { signal } = await agent.end('SIGTERM');
    if (signal !== null || !begun) for (const node of agent.recorders.keys()) context.lossy.nodes.add(node);
    agent.reboot();
    agent.start();
  });

const brokerPowerCut: Fault = (context) =>
  taking(context, [context.cluster.broker], async (broker) => {
    context.note('the power of the broker is cut');
    await broker.end('SIGKILL');
    await withoutUnsynced(context, broker);
  });

const nodePowerCut: Fault = (context) =>
  taking(context, context.cluster.agents, async (agent) => {
    context.note(`the power of ${agent.name} is cut`);
    await agent.end('SIGKILL');
    await withoutUnsynced(context, agent);
  });

/** Power cuts of a broker and an agent on one machine. */
const powerCut: Fault = (context) =>
  taking(context, [context.cluster.broker], (broker) =>
    taking(context, context.cluster.agents, async (agent) => {
      context.note(`the power of the broker and of ${agent.name} is cut`);
      await Promise.all([broker, agent].map((party) => party.end('SIGKILL')));
      await Promise.all([broker, agent].map((party) => withoutUnsynced(context, party)));
    }),
  );

/** Starts a killed party again, on a machine that lost what was not synced and has booted anew. */
async function withoutUnsynced(context: FaultContext, party: BrokerParty | AgentParty): Promise<void> {
  const { random, recorded, lossy, note } = context;
  if (party instanceof AgentParty) {
    // What is lost must be stated.
    await recorded.read(party);
    for (const node of party.recorders.keys()) lossy.nodes.add(node);
    party.reboot();
  }
  for (const lost of party.disk!.cutPower(random)) note(`  ${party.name}: ${lost}`);
  await sleep(random.between(0, 3_000));
  await startAgain(party);
}

const wipedRecorder: Fault = (context) => {
  const { cluster, recorded, lossy, note } = context;
  return taking(context, cluster.agents, async (agent) => {
    await agent.end('SIGKILL');
    await recorded.read(agent);
    note(`the recorders of ${agent.name} are removed`);
    for (const node of agent.recorders.keys()) lossy.nodes.add(node);
    agent.wipe();
    agent.start();
  });
};

const damageRecorder: Fault = (context) => {
  const { cluster, random, recorded, lossy } = context;
  return taking(context, cluster.agents, async (agent) => {
    const signal = random.pick(['SIGKILL', 'SIGTERM'] as const);
    await agent.end(signal);
    await recorded.read(agent);
    const [node, dir] = random.pick([...agent.recorders]);
    lossy.nodes.add(node);
    damageFile(context, dir, signal === 'SIGTERM');
    agent.start();
  });
};

const damageLog: Fault = (context) =>
  taking(context, [context.cluster.broker], async (broker) => {
    const { cluster, random, lossy } = context;
    await broker.end(random.pick(['SIGKILL', 'SIGTERM']));
    lossy.log = true;
    const log = join(cluster.brokerDir, 'broker', 'log');
    const isSegment = (name: string) => name.endsWith('.log');
    const partitions = readdirSync(log).filter((name) => name.startsWith('partition-'));
    const used = partitions.filter((name) => readdirSync(join(log, name)).some(isSegment));
    // Bits only: behind a cut nodes send again what the log had, which is a known limit.
    if (used.length > 0) damageFile(context, join(log, random.pick(used)), false);
    await startAgain(broker);
  });

/**
 * Flips some bits of one segment file, or cuts it. What was cut of a killed
 * process's newest file cannot be told from what it never wrote: only files
 * that were closed in order are cut.
 */
function damageFile({ random, note }: FaultContext, dir: string, mayCut: boolean): void {
  // Killed as soon as it was started, it may not have any.
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith('.log')) : [];
  if (names.length === 0) return;
  const path = join(dir, random.pick(names));
  const size = statSync(path).size;
  const fd = openSync(path, 'r+');
  try {
    if (random.between(0, 2) === 0 && mayCut) {
      const at = random.between(0, size);
      note(`${path} cut at ${at} of ${size} bytes`);
      ftruncateSync(fd, at);
      return;
    }
    const byte = Buffer.alloc(1);
    for (let flips = random.between(1, 8); flips > 0 && size > 0; flips -= 1) {
      const at = random.between(0, size - 1);
      readSync(fd, byte, 0, 1, at);
      byte[0]! ^= 1 << random.between(0, 7);
      writeSync(fd, byte, 0, 1, at);
      note(`${path} bit flipped at ${at} of ${size} bytes`);
    }
  } finally {
    closeSync(fd);
  }
}

/** Fills the disk of an agent whose directory is a small file system of its own. */
const recorderDiskFull: Fault = (context) => {
  const { cluster, random, note, lossy } = context;
  const small = cluster.agents.filter(({ options }) => options.ownDisk);
  return taking(context, small, async (agent) => {
    const ms = random.between(2_000, 6_000);
    note(`disk of ${agent.name} full for ${ms} ms`);
    for (const node of agent.recorders.keys()) lossy.nodes.add(node);
    const ballast = join(agent.options.dataDir, 'ballast');
    fillDisk(ballast);
    await sleep(ms);
    rmSync(ballast, { force: true });
  });
};

function fillDisk(path: string): void {
  const fd = openSync(path, 'w');
  try {
    for (let bytes = 1 << 20; bytes >= 512; )
      try {
        if (writeSync(fd, Buffer.alloc(bytes)) < bytes) bytes /= 2;
      } catch {
        bytes /= 2;
      }
  } finally {
    closeSync(fd);
  }
}

/** Why the fault cannot be done to this cluster; undefined: it can. */
export function cannot(fault: FaultName, cluster: Cluster): string | undefined {
  if (fault !== 'link-down' && fault !== 'narrow-link') return undefined;
  if (linked(cluster).some(({ namespace }) => namespace === undefined)) return refused().namespaces ?? 'no namespaces';
  return fault === 'narrow-link' ? refused().rates : undefined;
}

export const FAULT_ACTS: Readonly<Record<FaultName, Fault>> = {
  kill,
  freeze,
  terminate,
  'terminate-twice': terminateTwice,
  'broker-away': brokerAway,
  'reader-stalls': readerStalls,
  'half-open': halfOpen,
  partition,
  'slow-link': slowLink,
  'link-down': linkDown,
  'narrow-link': narrowLink,
  'clock-step': clockStep,
  reboot,
  'broker-power-cut': brokerPowerCut,
  'node-power-cut': nodePowerCut,
  'power-cut': powerCut,
  'wiped-recorder': wipedRecorder,
  'damage-recorder': damageRecorder,
  'damage-log': damageLog,
  'recorder-disk-full': recorderDiskFull,
};
