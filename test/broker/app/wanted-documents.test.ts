/** Documents as frames for one subscription: in pieces that fit a message. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WantedDocuments } from '../../../src/broker/delivery/documents/wanted-documents.js';
import { DocumentBatch } from '../../../src/broker/log/documents/document-batch.js';
import { DOCUMENT_BATCH_BYTES_MAX } from '../../../src/limits.js';
import { checkSubscription } from '../../../src/subscriptions/request/subscription-request.js';
import { batchOf } from '../../harness/broker/documents.js';

const checked = checkSubscription({ topics: ['app.a'], since: '1h' }, 1_800_000_000_000_000_000n);
const IDS = Array.from({ length: 40 }, (_, at) => String(at));

function tiesOf(wanted: WantedDocuments, batch: DocumentBatch, from = 0) {
  return [...wanted.frames(batch, from)].map(({ frame, next }) => ({
    ties: [...frame.ties],
    next,
    bytes: frame.events.length,
  }));
}

test('a large batch comes in several frames, each after the other, and from any index on', () => {
  const batch = new DocumentBatch(batchOf('app.a', IDS, 'x'.repeat(30_000)), 1, 7, 1n, undefined);
  const frames = tiesOf(new WantedDocuments(checked), batch);
  assert.ok(frames.length > 1 && frames.every(({ bytes }) => bytes <= DOCUMENT_BATCH_BYTES_MAX));
  assert.deepEqual(frames.flatMap(({ ties }) => ties).map(String), IDS);
  for (const [at, { next }] of frames.entries()) assert.equal(next, frames[at + 1]?.ties[0] ?? IDS.length);
  assert.deepEqual(
    tiesOf(new WantedDocuments(checked), batch, 38).flatMap(({ ties }) => ties),
    [38, 39],
  );
  assert.deepEqual(
    tiesOf(new WantedDocuments(checked), new DocumentBatch(batchOf('app.b', IDS), 1, 7, 1n, undefined)),
    [],
  );
});
