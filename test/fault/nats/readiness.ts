/**
 * Waiting for nats-servers that were started again, and saying what they lack.
 *
 * A server that comes back after a power cut with more than the two others went on with does not get back into the groups
 * of its streams by itself: it has taken as final what the others do not have, so it refuses what their leaders send from
 * there on, and asks again every second or two ("Expected first catchup entry to be a snapshot and peerstate"). Only when
 * a leader has made a snapshot of its log does it send that instead. NATS makes one every two to three minutes, and puts
 * it off by a minute at most while a server asks like this; of a stream to which nothing is appended it makes none. Its
 * `/healthz` is bad most of this time, and good now and then between two requests.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type NatsCluster, type NatsMachine, STREAMS } from '../../harness/nats/nats-cluster.js';
import { until } from '../../harness/until.js';
import type { FaultContext } from '../party-faults.js';

type Context = FaultContext<NatsCluster>;

const ASKS_MS = 3_000;
/** Longer than servers take that have to elect leaders of all streams on a crowded machine. */
const LONG_MS = 20_000;
/** Until leaders have made a snapshot each, and a minute for what puts it off. */
const SNAPSHOTS_MS = 240_000;
const SHOWS_MS = 1_000;

/**
 * Resolves when each of the servers has all streams. While one has not rejoined since a power cut they need only take
 * requests: where that one leads, the others are not current before it is emptied. What one that takes long lacks is in the
 * history, once.
 */
export async function ready({ cluster, note }: Context, machines: readonly NatsMachine[]): Promise<void> {
  const beganMs = performance.now();
  const noted = new Set<string>();
  const what = cluster.machines.some(({ rejoining }) => rejoining) ? 'server' : 'all';
  const all = machines.map(({ name, server }) =>
    server.ready(what, (why) => {
      if (performance.now() - beganMs < LONG_MS) return;
      const stream = STREAMS.find((stream) => new RegExp(`${stream}\\b`).test(why));
      const key = `${name} ${stream ?? why}`;
      if (noted.has(key)) return;
      noted.add(key);
      note(`  ${name} does not serve: ${why}`);
      if (stream !== undefined) void cluster.told(stream).then((told) => note(`  ${stream}: ${told}`));
    }),
  );
  await Promise.all(all);
}

/**
 * A server was started that has more of the streams than the two others. Its operator empties it, as docs/cluster.md says:
 * soon, or once NATS takes it for current. Resolves then; what comes of it is in the history.
 */
export async function rejoin(context: Context, machine: NatsMachine): Promise<void> {
  const { cluster, note, failures, random } = context;
  const ending = new AbortController();
  machine.rejoining = true;
  void auditing(cluster, ending.signal);
  try {
    if (random.between(0, 1) === 0) await sleep(random.between(2_000, 20_000));
    else {
      await hasAll(context, machine, SNAPSHOTS_MS);
      const others = await cluster.differing(machine);
      if (others.length > 0) note(`  NATS takes ${machine.name} for current, and it has other messages in ${others}`);
    }
    await emptied(context, machine);
    machine.rejoining = false;
  } catch (cause) {
    if (cluster.machines.includes(machine)) failures.push(`${cause}`);
  } finally {
    ending.abort();
  }
}

/** @param quietMs how long nothing may come of it */
async function hasAll({ cluster, note }: Context, machine: NatsMachine, quietMs: number): Promise<void> {
  const beganMs = performance.now();
  let lacking: readonly string[] = STREAMS;
  const isBack = async () => {
    if (!cluster.machines.includes(machine)) throw new Error(`${machine.name} went with its cluster`);
    // Who has just been elected does not know yet what the others have.
    lacking = await lackingOn(cluster, machine);
    if (lacking.length === 0) await sleep(SHOWS_MS);
    return lacking.length === 0 && (await lackingOn(cluster, machine)).length === 0;
  };
  const seen = () => [Math.min(performance.now() - beganMs, quietMs), lacking];
  await until(`${machine.name} to have all streams again`, isBack, seen);
  note(`  ${machine.name} has all streams again after ${Math.round((performance.now() - beganMs) / 1000)} s`);
}

/** It begins anew with an empty store, and takes everything from the others. */
async function emptied(context: Context, machine: NatsMachine): Promise<void> {
  const { cluster, note } = context;
  const isFree = () => !cluster.machines.some(({ busy }) => busy);
  await until('no other server to be in trouble', isFree, () => cluster.machines.map(({ busy }) => busy));
  machine.busy = true;
  try {
    note(`  ${machine.name} is emptied`);
    await machine.server.kill();
    machine.server.empty();
    machine.server.start();
    await machine.server.ready();
    await hasAll(context, machine, 0);
  } finally {
    machine.busy = false;
  }
}

/** Streams whose leaders do not say that the server is current. */
async function lackingOn(cluster: NatsCluster, { name }: NatsMachine): Promise<string[]> {
  const current = await cluster.currentOn(name);
  return STREAMS.filter((stream) => !current.has(stream));
}

/** Appends to a stream to which little is appended: the audit has who subscribes. */
async function auditing(cluster: NatsCluster, signal: AbortSignal): Promise<void> {
  const client = cluster.client();
  try {
    while (!signal.aborted) {
      const asking = AbortSignal.any([signal, AbortSignal.timeout(ASKS_MS)]);
      const nothing = client.subscribe({ topics: ['process'], nodes: ['nobody'], follow: true }, asking);
      try {
        for await (const _ of nothing);
      } catch {
        await sleep(ASKS_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  } finally {
    client.close();
  }
}
