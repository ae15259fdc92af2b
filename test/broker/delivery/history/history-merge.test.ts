/** The merge of several nodes' history by wall time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  compareKeys,
  type HistorySource,
  mergeHistory,
} from '../../../../src/broker/delivery/history/history-merge.js';
import type { HistoryFrame } from '../../../../src/wire/frame/history-frame.js';
import { element } from '../../../harness/arbitrary/frame-arbitrary.js';

interface Told {
  readonly wallNs: bigint;
  readonly timeNs: bigint;
}

function frameOf(events: readonly Told[]): HistoryFrame {
  return {
    topic: 'process',
    epoch: 1,
    wallNs: BigUint64Array.from(events, ({ wallNs }) => wallNs),
    timesNs: BigUint64Array.from(events, ({ timeNs }) => timeNs),
    eventSizes: events.map(() => 3),
    lanes: events.map(() => 0),
    ties: events.map(() => 0),
    matches: [],
    incomplete: false,
    events: Buffer.concat(events.map(() => element(1, 0))),
  };
}

function sourceOf(node: string, frames: readonly (readonly Told[])[]): HistorySource {
  const rest = frames.map(frameOf);
  return { node, next: async () => rest.shift() };
}

/** Per node, frames of events: positions ascend, wall times do not decrease. */
const nodes = fc.array(
  fc.array(fc.array(fc.nat(6), { maxLength: 5 }), { maxLength: 5 }).map((frames) => {
    let wallNs = 0n;
    let timeNs = 0n;
    return frames.map((steps) =>
      steps.map((step): Told => {
        wallNs += BigInt(step);
        timeNs += 1n;
        return { wallNs, timeNs };
      }),
    );
  }),
  { maxLength: 6 },
);

test('the merge gives the same order as sorting all events', async () => {
  await fc.assert(
    fc.asyncProperty(nodes, async (perNode) => {
      const sources = perNode.map((frames, index) => sourceOf(`n${index}`, frames));
      const got: string[] = [];
      for await (const { node, frame, from, to, end } of mergeHistory(sources)) {
        assert.ok(to > from);
        for (let i = from; i < to; i++) got.push(`${node}:${frame.timesNs[i]}`);
        assert.equal(`${end.node}:${end.position.timeNs}`, got.at(-1));
      }
      const all = perNode.flatMap((frames, index) =>
        frames.flat().map(({ wallNs, timeNs }) => ({
          wallNs,
          node: `n${index}`,
          position: { epoch: 1, timeNs, lane: 0, tie: 0 },
        })),
      );
      assert.deepEqual(
        got,
        all.sort(compareKeys).map(({ node, position }) => `${node}:${position.timeNs}`),
      );
    }),
  );
});

test('the frames of a node that answers alone are passed on one by one, unsplit', async () => {
  const frames = [1, 2, 3].map((frame) =>
    [1, 2].map((event) => ({ wallNs: BigInt(frame), timeNs: BigInt(frame * 10 + event) })),
  );
  const runs: number[] = [];
  for await (const { from, to } of mergeHistory([sourceOf('a', frames), sourceOf('b', [])])) runs.push(to - from);
  assert.deepEqual(runs, [2, 2, 2]);
});

test('a wall clock that was set back between two frames does not change the order', async () => {
  const a = sourceOf('a', [[{ wallNs: 10n, timeNs: 1n }], [{ wallNs: 1n, timeNs: 2n }]]);
  const b = sourceOf('b', [
    [
      { wallNs: 5n, timeNs: 1n },
      { wallNs: 11n, timeNs: 2n },
    ],
  ]);
  const got: string[] = [];
  for await (const { node, frame, from, to } of mergeHistory([a, b])) {
    for (let i = from; i < to; i++) got.push(`${node}${frame.timesNs[i]}`);
  }
  assert.deepEqual(got, ['b1', 'a1', 'a2', 'b2']);
});
