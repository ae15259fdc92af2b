/**
 * Nodes send while NATS is away: what waits for it is bounded over all of them, of what is beyond that one message each is
 * held, and nobody is read on. Afterwards all of it is in the log, once and in order, also what was under way at the cut.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { JetStreamLogStore } from '../../../src/broker/log/jetstream/jetstream-log-store.js';
import { type PartitionLog, partitionOf } from '../../../src/broker/log/partition-log.js';
import { APPEND_PENDING_BYTES_MAX, PARTITIONS } from '../../../src/limits.js';
import { TOPICS } from '../../../src/wire/event/event.js';
import { decodeFrame, encodeFrame } from '../../../src/wire/frame/frame.js';
import { comparePositions } from '../../../src/wire/position.js';
import { columns } from '../../harness/broker/matched.js';
import { type NodeServer, startNodeServer } from '../../harness/broker/node-server.js';
import { TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { Relay } from '../../harness/cluster/relay.js';
import { frameOver } from '../../harness/frames.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { linkTo, makeTestCluster } from '../../harness/nats/state-under-test.js';
import { until } from '../../harness/until.js';

/** Of each partition: the first big frames of all topics of all of them are more than may wait. */
const NODES_PER_PARTITION = 7;
const BIG_EVENTS = 4;
const BIG_EVENT_BYTES = 61_000;
/** A small frame, a big one that comes while NATS is away, and one that comes when its node is held. */
const FRAMES = 3;
/** Of one more node of each partition, which sends them at once: NATS goes in the middle. */
const FRAMES_AT_CUT = 40;
const TOPIC_NAMES = Object.keys(TOPICS);
/** Tries of what is held, by which a node would be read that is read. */
const TRIES_MIN = 3;

/** Frames of a topic, as any node may send them: each has `events` events, the first one has a small one. */
function framesOf(topic: string, count: number, events: number, eventBytes: number): Buffer[] {
  const recorder = new TestRecorder('r', 1);
  const [type] = TOPICS[topic]!.types;
  return Array.from({ length: count }, (_, at) => {
    const coveredFrom = recorder.frontier;
    const recorded = Array.from({ length: at === 0 ? 1 : events }, () =>
      recorder.record(type!, at, 'x'.repeat(at === 0 ? 1 : eventBytes)),
    );
    const change = { topic, continues: at > 0, count: recorded.length, ...columns(recorded) };
    return encodeFrame(frameOver(coveredFrom, recorder.frontier, change));
  });
}

/** So many names of each partition. */
function namesOf(prefix: string, perPartition: number): string[] {
  const names = Array.from({ length: PARTITIONS }, (): string[] => []);
  for (let at = 0; names.some(({ length }) => length < perPartition); at++) {
    const own = names[partitionOf(`${prefix}${at}`)]!;
    if (own.length < perPartition) own.push(`${prefix}${at}`);
  }
  return names.flat();
}

/** What the logs were asked to append. */
class Appends {
  /** Bytes that wait, and the most that did. */
  bytes = 0;
  bytesMax = 0;
  /** Nodes of which a frame was not taken, and how often that was. */
  readonly refused = new Map<string, number>();

  constructor(logs: readonly PartitionLog[]) {
    for (const log of logs) {
      const append = log.append.bind(log);
      log.append = (node, frame, frameBytes) => {
        const appended = append(node, frame, frameBytes);
        void this.#count(node, frameBytes.length, appended);
        return appended;
      };
    }
  }

  async #count(node: string, bytes: number, appended: Promise<number>): Promise<void> {
    let isOver = false;
    const over = appended.then(
      () => {
        isOver = true;
      },
      () => {
        isOver = true;
        this.refused.set(node, (this.refused.get(node) ?? 0) + 1);
      },
    );
    // What is refused at once does not wait.
    await turn();
    if (isOver) return;
    this.bytes += bytes;
    this.bytesMax = Math.max(this.bytesMax, this.bytes);
    await over;
    this.bytes -= bytes;
  }
}

interface Sending {
  readonly agent: TestAgent;
  /** By topic, what it sends. */
  readonly frames: ReadonlyMap<string, readonly Buffer[]>;
}

function send({ agent, frames }: Sending, from: number, to: number): void {
  for (let at = from; at < to; at++) for (const own of frames.values()) agent.sendFrame(own[at]!);
}

/** Whether all that it has sent up to a frame is acknowledged. */
function hasAll({ agent, frames }: Sending, at: number): boolean {
  return [...frames].every(([topic, own]) => {
    const to = agent.acknowledged.get(topic);
    return to !== undefined && comparePositions(to, decodeFrame(own.at(at)!).coveredTo) >= 0;
  });
}

async function connect(server: NodeServer, name: string, frames: Sending['frames']): Promise<Sending> {
  return { agent: await TestAgent.connect(server.address, name, new TestRecorder(name, 1)), frames };
}

/** By node and topic, up to where each frame in the log reaches, in the order of the log. */
async function stored(logs: readonly PartitionLog[]): Promise<Map<string, bigint[]>> {
  const found = new Map<string, bigint[]>();
  for (const log of logs) {
    const reader = log.reader(log.firstOffset, new Set(TOPIC_NAMES));
    for (let item = await reader.next(); item; item = await reader.next()) {
      assert.equal(item.kind, 'frame');
      if (item.kind !== 'frame') continue;
      const key = `${item.node} ${item.frame.topic}`;
      found.set(key, [...(found.get(key) ?? []), item.frame.coveredTo.timeNs]);
    }
    reader.close();
  }
  return found;
}

test('while NATS is away what waits is bounded, senders are not read on, and then all is stored once', {
  skip: needsNats(),
}, async () => {
  const servers = await NatsServers.start();
  await makeTestCluster(servers);
  const relay = await Relay.start([servers.first.url.slice('nats://'.length)]);
  const link = await linkTo({ urls: `nats://${relay.address}` });
  const store = await JetStreamLogStore.open({
    ...{ cluster: 'test', broker: 'b0', link },
    onLost: (cause) => assert.fail(cause),
    onRewound: (_log, offset) => assert.fail(`rewound to ${offset}`),
  });
  const appends = new Appends(store.all());
  const troubles: string[] = [];
  const server = await startNodeServer({ store, onTrouble: ({ kind }) => troubles.push(kind) });
  const big = new Map(TOPIC_NAMES.map((topic) => [topic, framesOf(topic, FRAMES, BIG_EVENTS, BIG_EVENT_BYTES)]));
  const many = new Map([['process', framesOf('process', FRAMES_AT_CUT, 1, BIG_EVENT_BYTES)]]);
  const sending = await Promise.all(namesOf('n', NODES_PER_PARTITION).map((name) => connect(server, name, big)));
  const atCut = await Promise.all(namesOf('cut', 1).map((name) => connect(server, name, many)));
  const all = [...sending, ...atCut];
  const stillHere = () =>
    assert.deepEqual(
      all.filter(({ agent }) => agent.ended).map(({ agent }) => agent.ended),
      [],
    );
  try {
    for (const each of all) send(each, 0, 1);
    await until('small frames are stored', () => all.every((each) => hasAll(each, 0)));
    for (const each of atCut) send(each, 1, FRAMES_AT_CUT);
    await until('some of what comes at once is stored', () => atCut.some((each) => hasAll(each, 1)));
    relay.partition();
    for (const each of sending) send(each, 1, 2);
    const isHeld = ({ agent }: Sending) => (appends.refused.get(agent.node) ?? 0) > 0;
    const counts = () => [appends.bytes, sending.filter(isHeld).length];
    await until('of each node something is held', () => sending.every(isHeld), counts);
    assert.ok(troubles.includes('refusing'));

    const read = () => sending.map(({ agent }) => server.registry.record(agent.node)!.uplinkBytes);
    const readBefore = read();
    for (const each of sending) send(each, 2, 3);
    const triesBefore = new Map(appends.refused);
    const isTriedAgain = ({ agent: { node } }: Sending) =>
      appends.refused.get(node)! >= triesBefore.get(node)! + TRIES_MIN;
    await until(
      'what is held is tried',
      () => sending.every(isTriedAgain),
      () => [...appends.refused.values()],
    );
    assert.deepEqual(read(), readBefore, 'nobody is read on');
    stillHere();

    relay.heal();
    const isStored = () => all.every((each) => hasAll(each, -1));
    await until('all is stored', isStored, () => [appends.bytes, all.filter((each) => hasAll(each, -1)).length]);
    stillHere();
    assert.ok(appends.bytesMax <= APPEND_PENDING_BYTES_MAX, `${appends.bytesMax} bytes waited`);
    assert.ok(appends.bytesMax > APPEND_PENDING_BYTES_MAX / 2, `only ${appends.bytesMax} bytes waited`);
    const expected = all.flatMap(({ agent, frames }) =>
      [...frames].map(
        ([topic, own]) => [`${agent.node} ${topic}`, own.map((frame) => decodeFrame(frame).coveredTo.timeNs)] as const,
      ),
    );
    assert.deepEqual(await stored(store.all()), new Map(expected));
    await until('no trouble', () => troubles.at(-1) === 'over');
  } finally {
    for (const { agent } of all) agent.kill();
    await server.close();
    await link.close();
    relay.close();
    await servers.destroy();
  }
});
