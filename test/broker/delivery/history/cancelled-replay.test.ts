/** A replay that is ended early: what had arrived of an answer and was not delivered must not count as delivered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replay } from '../../../../src/broker/delivery/history/replay.js';
import { SelectorSet } from '../../../../src/broker/delivery/selectors/selector-set.js';
import { HistoryAnswer } from '../../../../src/broker/nodes/history/history-answer.js';
import type { NodeRegistry } from '../../../../src/broker/nodes/node-registry.js';
import type { NodeRoute } from '../../../../src/broker/nodes/node-route.js';
import { BytePool } from '../../../../src/flow/byte-pool.js';
import { MiB } from '../../../../src/limits.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { historyEndCodec } from '../../../../src/wire/messages.js';
import { ORIGIN } from '../../../../src/wire/position.js';
import { historyFrameOf } from '../../../harness/broker/matched.js';
import { TestRecorder } from '../../../harness/broker/test-agent.js';

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });

const recorder = new TestRecorder('a');

const nextFrame = () => historyFrameOf('process', 1, [recorder.record('process.exec', 1)]);

for (const framesRead of [1, 3]) {
  test(`an answer that ended, of which ${framesRead} of 3 frames were delivered, is not reported as ended`, async () => {
    const answer = new HistoryAnswer(
      'a',
      MiB,
      () => undefined,
      () => undefined,
    );
    answer.begin();
    for (let frame = 0; frame < 3; frame++) answer.receive(nextFrame());
    answer.finish(historyEndCodec.decode(historyEndCodec.encode({ source: 'synthetic' }), MiB));
    const route = {
      reaches: () => true,
      history: () => answer,
      tell: () => undefined,
      takeover: async () => undefined,
    } satisfies NodeRoute;
    const registry = { record: () => ({ epoch: 1 }) } as unknown as NodeRegistry;
    const ending = new AbortController();
    const reported: string[] = [];
    let runs = 0;
    const upTo = { ...ORIGIN, epoch: 2 };
    const query = {
      node: 'a',
      request: { predicates: [predicate.spec], upTo },
      floors: new Map(),
      afterKey: undefined,
    };
    const options = {
      client: 'me',
      last: 0,
      onFailed: (node: string) => reported.push(`${node} failed`),
      onEnded: () => reported.push('ended'),
      onUnsound: async () => assert.fail(),
      onMissing: async () => assert.fail(),
      signal: ending.signal,
    };
    const broker = { registry, route, historyPool: new BytePool(16 * MiB) };
    const selectors = new SelectorSet([{ id: '', predicate }]);
    const replaying = replay(broker, [query], selectors, options, async () => {
      if (++runs === framesRead) ending.abort();
    });
    await assert.rejects(replaying, { code: 'cancelled' });
    assert.equal(runs, framesRead);
    assert.ok(!reported.includes('ended'), reported.join());
  });
}
