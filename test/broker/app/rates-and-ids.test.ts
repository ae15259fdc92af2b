/** What an identity may publish, which ids are remembered, and the name under which its events come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Identity } from '../../../src/broker/access/gate.js';
import { PublishRates } from '../../../src/broker/app/publish-rates.js';
import { PUBLISHING, Publisher } from '../../../src/broker/app/publisher.js';
import { publisherName } from '../../../src/broker/app/publisher-name.js';
import { DOCUMENT_BOUNDS } from '../../../src/broker/log/documents/document-logs.js';
import { openEmbeddedDocuments } from '../../../src/broker/log/documents/embedded-document-logs.js';
import { KnownIds } from '../../../src/broker/log/documents/known-ids.js';
import { BackplaneError } from '../../../src/errors.js';
import { publishBatchOf } from '../../../src/wire/publish-request.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { runs } from '../../harness/runs.js';

test('a batch takes its bytes and events at once, and the wait is as long as said', () => {
  let nowMs = 0;
  const rates = new PublishRates({ bytesPerSecond: 1 << 20, eventsPerSecond: 100, burstMs: 1_000 }, () => nowMs);
  rates.admit('a', 1 << 20, 1_000);
  rates.admit('b', 1 << 20, 1);
  let waitMs = 0;
  try {
    rates.admit('a', 1, 10);
  } catch (cause) {
    waitMs = (cause as BackplaneError).details.retryAfterMs!;
  }
  assert.equal(waitMs, 100);
  nowMs += waitMs - 1;
  assert.throws(() => rates.admit('a', 1, 10), BackplaneError);
  nowMs += 1;
  rates.admit('a', 1, 10);
});

test('property: of each topic and identity the newest ids within time and number are known, and no others', () => {
  const step = fc.record({
    node: fc.constantFrom('@a', '@b'),
    topic: fc.constantFrom('app.a', 'app.b'),
    id: fc.integer({ min: 0, max: 40 }).map((number) => (number % 2 ? String(number) : `${number}`.padEnd(60, 'x'))),
    waitMs: fc.integer({ min: 0, max: 30 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const ids = new KnownIds((topic) => ({ ageMsMax: topic === 'app.a' ? 100 : 1_000, countMax: 10 }));
      const added: { key: string; topic: string; id: string; offset: number; atMs: number }[] = [];
      let nowMs = 0;
      for (const [offset, { node, topic, id, waitMs }] of steps.entries()) {
        nowMs += waitMs;
        const ageMsMax = topic === 'app.a' ? 100 : 1_000;
        const window = added.filter((each) => each.key === node + topic).slice(-10);
        const expected = window.filter((each) => each.atMs > nowMs - ageMsMax).find((each) => each.id === id);
        assert.equal(ids.offset(node, topic, id, nowMs), expected?.offset);
        if (expected !== undefined) continue;
        const old = added.findIndex((each) => each.key === node + topic && each.id === id);
        if (old >= 0) added.splice(old, 1);
        ids.add(node, topic, id, offset, nowMs);
        added.push({ key: node + topic, topic, id, offset, atMs: nowMs });
      }
    }),
    { numRuns: runs(100) },
  );
});

test('any identity has a name that cursors and globs take, and no two have the same', () => {
  assert.equal(publisherName('local'), '@local');
  assert.equal(publisherName('spiffe://example.org/ns/ci'), '@spiffe://example.org/ns/ci');
  assert.equal(publisherName('Build Server "ä"'), '@Build%20Server%20%22%C3%A4%22');
  assert.equal(publisherName('%20'), '@%2520');
  const long = ['x'.repeat(300), `${'x'.repeat(299)}y`].map(publisherName);
  assert.ok(long.every((name) => name.length <= 128) && long[0] !== long[1]);
});

test('identities of one name and another kind have ids of their own, also after a restart', async () => {
  const dir = scratchDirectory('two-kinds');
  const batch = publishBatchOf({ id: '1' }, 'app.a', 10);
  const identities: readonly Identity[] = [
    { name: 'ci', kind: 'token' },
    { name: 'ci', kind: 'jwt' },
  ];
  for (const expected of [0, 1]) {
    const options = { dir, bounds: DOCUMENT_BOUNDS, ids: PUBLISHING, onFailure: () => assert.fail() };
    const logs = await openEmbeddedDocuments(options);
    const publisher = new Publisher(logs, PUBLISHING);
    for (const identity of identities)
      assert.equal((await publisher.publish(identity, batch)).duplicates, expected, identity.kind);
    await logs.close();
  }
});
