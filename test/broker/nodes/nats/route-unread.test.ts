/** Readers that do not read keep nobody from asking other brokers' nodes, and get the rest when they do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HistoryAnswer } from '../../../../src/broker/nodes/history/history-answer.js';
import type { RouteBounds } from '../../../../src/broker/nodes/nats/route-bounds.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { EVERYTHING, withAskedNode } from '../../../harness/nats/route-broker.js';
import { twoOnNats } from '../../../harness/nats/state-under-test.js';

const skip = needsNats();
const nats = twoOnNats();
const READERS = 3;
/** There is room for so many answers as there are readers that do not read. */
const FULL = { pingMs: 50, unreadMs: 50, outstandingBytesMax: READERS * EVERYTHING.creditBytes };

async function readAll(answer: HistoryAnswer) {
  while ((await answer.next()) !== undefined);
  return answer.outcome!;
}

/** One broker asks the other for a node, three times without reading, and then once more. */
async function asksBesideUnread(bounds: readonly [Partial<RouteBounds>, Partial<RouteBounds>]): Promise<void> {
  await withAskedNode(nats.links, bounds, async ({ route }) => {
    const clients = Array.from({ length: READERS }, (_, at) => `client ${at}`);
    const unread = clients.map((client) => route.history('a', { ...EVERYTHING, client })!);
    // What they get first, as a merge of several nodes takes it.
    for (const answer of unread) assert.ok((await answer.next()) !== undefined);
    const outcome = await readAll(route.history('a', { ...EVERYTHING, last: 10 })!);
    assert.equal(outcome.kind, 'end', JSON.stringify(outcome));
    for (const answer of unread) await readAll(answer);
    const displaced = unread.filter((answer) => answer.displaced);
    assert.notEqual(displaced.length, 0);
    // Who was displaced asks again.
    for (const answer of unread) assert.ok(answer.displaced || answer.outcome?.kind === 'end');
  });
}

test('answers that are not read yield what may be on its way to their broker', { skip }, async () => {
  await asksBesideUnread([FULL, {}]);
});

test('answers that are not read yield what may be on its way from the broker of the node', { skip }, async () => {
  await asksBesideUnread([{}, FULL]);
});
