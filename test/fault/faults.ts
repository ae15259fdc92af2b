/** Faults of one broker that keeps its log itself, and of stored bytes. */
import { closeSync, existsSync, ftruncateSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../harness/cluster/driver.js';
import { refused } from '../harness/cluster/namespace.js';
import { AgentParty, type BrokerParty } from '../harness/cluster/party.js';
import * as party from './party-faults.js';
import { type FaultContext, linked, startAgain, taking } from './party-faults.js';
import type { FaultName } from './schedule.js';

type Fault = party.Fault<Cluster>;

const AWAY_MS = 20_000;

const brokerAway: Fault = (context) =>
  taking(context, [context.cluster.broker], async (broker) => {
    context.note(`broker away for ${AWAY_MS} ms`);
    await broker.end('SIGKILL');
    await sleep(AWAY_MS);
    await startAgain(broker);
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
      await Promise.all([broker, agent].map((off) => off.end('SIGKILL')));
      await Promise.all([broker, agent].map((off) => withoutUnsynced(context, off)));
    }),
  );

/** Starts a killed party again, on a machine that lost what was not synced and has booted anew. */
async function withoutUnsynced(context: FaultContext, off: BrokerParty | AgentParty): Promise<void> {
  const { random, recorded, lossy, note } = context;
  if (off instanceof AgentParty) {
    // What is lost must be stated.
    await recorded.read(off);
    for (const node of off.recorders.keys()) lossy.nodes.add(node);
    off.reboot();
  }
  for (const lost of off.disk!.cutPower(random)) note(`  ${off.name}: ${lost}`);
  await sleep(random.between(0, 3_000));
  await startAgain(off);
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
    // Bits only: how far nodes were delivered to a cursor from within what was cut is not known, which is a known limit.
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
    agent.options.ownDisk!.fill();
    await sleep(ms);
    agent.options.ownDisk!.free();
  });
};

/** Why the fault cannot be done to this cluster; undefined: it can. */
export function cannot(fault: FaultName, cluster: Cluster): string | undefined {
  if (fault !== 'link-down' && fault !== 'narrow-link') return undefined;
  if (linked(cluster).some(({ namespace }) => namespace === undefined)) return refused().namespaces ?? 'no namespaces';
  return fault === 'narrow-link' ? refused().rates : undefined;
}

export const FAULT_ACTS: Readonly<Record<FaultName, Fault>> = {
  ...party.PARTY_ACTS,
  'terminate-twice': party.terminateTwice,
  'broker-away': brokerAway,
  'broker-power-cut': brokerPowerCut,
  'node-power-cut': nodePowerCut,
  'power-cut': powerCut,
  'wiped-recorder': wipedRecorder,
  'damage-recorder': damageRecorder,
  'damage-log': damageLog,
  'recorder-disk-full': recorderDiskFull,
};
