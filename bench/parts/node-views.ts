/**
 * What a broker keeps per subscription and node: many subscriptions that follow the same idle nodes, each with its position
 * (how far each node was delivered) and its watch on nodes, as a live subscription has them after some rounds of silence.
 * Bytes are of the heap after a full collection; what nodes and the log take by themselves is not counted.
 *
 *   node dist/bench/parts/node-views.js [subscriptions] [nodes] [topics]
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CursorNotes } from '../../src/broker/delivery/cursor/cursor-notes.js';
import { NodeView } from '../../src/broker/delivery/cursor/node-view.js';
import { SubscriptionPosition } from '../../src/broker/delivery/cursor/subscription-position.js';
import { NodeWatch } from '../../src/broker/delivery/live/node-watch.js';
import { partitionOf } from '../../src/broker/log/partition-log.js';
import { TopicEnds } from '../../src/broker/log/topic-ends.js';
import { NodeRegistry } from '../../src/broker/nodes/node-registry.js';
import { Signal } from '../../src/flow/signal.js';
import { PARTITIONS } from '../../src/limits.js';
import type { Position } from '../../src/wire/position.js';
import { newBook, openLogs, openState } from '../../test/harness/broker/stores.js';
import { scratchDirectory } from '../../test/harness/files/scratch-directory.js';
import { frameOver } from '../../test/harness/frames.js';
import { report, round } from '../measuring/report.js';

const [subscriptions = 200, nodes = 1_000, topicCount = 1] = process.argv.slice(2).map(Number);
const ROUNDS = 3;
const TOPICS = ['process', 'network', 'file', 'syscall'].slice(0, topicCount);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapBytes(): number {
  for (let each = 0; each < 4; each++) collect();
  return process.memoryUsage().heapUsed;
}

const names = Array.from({ length: nodes }, (_, at) => `ip-10-0-${at}-17.eu-central-1.compute.internal`);
const at = (round: number): Position => ({ epoch: 1, timeNs: BigInt(round) * 1_000_000_000n, lane: 0, tie: 0 });
const holds = new Map(names.map((name) => [name, at(1)]));
const ends = Array.from({ length: PARTITIONS }, () => new TopicEnds());

/** A round of silence: each node says of each topic that there was nothing. */
function silence(round: number): void {
  for (const node of names) {
    for (const topic of TOPICS) {
      const watermarkNs = at(round).timeNs;
      const frame = frameOver(at(round - 1), at(round), { topic, count: 0, watermarkNs, continues: round > 1 });
      ends[partitionOf(node)]!.take({ kind: 'frame', offset: round, node, frame, bytes: 100, appendedMs: 0 });
    }
  }
}

const store = await openLogs(scratchDirectory('bench'));
const registry = new NodeRegistry(newBook(), store, openState(scratchDirectory('bench')), console.error);
const wake = new Signal();

/** As a plan makes it for nodes that are served from the log at once. */
function begin(): { readonly position: SubscriptionPosition; readonly watch: NodeWatch } {
  const position = new SubscriptionPosition({
    ...{ clusterId: 'f'.repeat(16), asked: { predicateId: 1n }, topics: TOPICS, places: [] },
    ...{ joinSinceNs: undefined, replayFrom: undefined, notes: new CursorNotes(store.all(), 0) },
  });
  const watch = new NodeWatch(
    registry,
    () => true,
    [1n],
    wake,
    (node) => position.views.get(node),
  );
  for (const name of names) {
    const view = new NodeView(name);
    view.reached(holds.get(name)!);
    position.add(view);
    watch.named(name, true);
  }
  return { position, watch };
}

silence(1);
const before = heapBytes();
const began = Array.from({ length: subscriptions }, begin);
for (let round = 2; round < 2 + ROUNDS; round++) {
  silence(round);
  for (const { position } of began) for (const each of ends) for (const end of each.since(round)) position.passed(end);
}
const bytes = heapBytes() - before;
for (const { position } of began) if (position.cursor() === '') throw new Error('no cursor');
const row = { subscriptions, nodes, topics: TOPICS.length, MiB: round(bytes / 2 ** 20, 1) };
report('node views', [{ ...row, 'bytes each': round(bytes / subscriptions / nodes, 1) }]);
for (const { watch } of began) watch.close();
registry.close();
await store.close();
