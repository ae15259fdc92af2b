/** What a refill makes of a log that gives nothing at a moment, or goes back while it is read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeView, type Owed } from '../../../../src/broker/delivery/cursor/node-view.js';
import { Refill } from '../../../../src/broker/delivery/history/refill.js';
import { SelectorSet } from '../../../../src/broker/delivery/selectors/selector-set.js';
import { Signal } from '../../../../src/flow/signal.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { frameOver } from '../../../harness/frames.js';

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const at = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });

/** One round of refills of one node, of whose log's frames up to 9 were delivered. Returns what is owed then. */
async function owedAfter(view: NodeView, next: (reader: { offset: number }) => unknown): Promise<readonly Owed[]> {
  const reader = {
    offset: 0,
    next: async () => next(reader),
    close: () => undefined,
  };
  const log = {
    reader: (offset: number) => {
      reader.offset = offset;
      return reader;
    },
  };
  const refill = new Refill({
    ...{
      signal: new AbortController().signal,
      selectors: new SelectorSet([{ id: '', predicate }]),
      wake: new Signal(),
    },
    position: { views: new Map([['a', view]]), places: Array(8).fill({ delivered: 9, log }) },
    broker: { route: { reaches: () => true } },
    planner: { untilNs: () => undefined },
  } as never);
  await refill.during(async () => {
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  });
  return view.owed.get('process') ?? [];
}

const range = { offsetFrom: 3, offsetTo: 8, after: at(5n), skipped: false, counted: true };

test('where the log gives nothing at this moment all that is owed stays owed, from where it was refilled', async () => {
  const view = new NodeView('a');
  view.owe('process', { ...range });
  const owed = await owedAfter(view, () => undefined);
  assert.deepEqual(
    owed.map(({ offsetFrom, after }) => [offsetFrom, after]),
    [[3, at(5n)]],
  );
  const further = await owedAfter(view, (reader) => {
    reader.offset = 6;
  });
  assert.deepEqual(
    further.map(({ offsetFrom, after }) => [offsetFrom, after]),
    [[6, undefined]],
  );
});

test('what a log that goes back gives up while it is read is not refilled any more', async () => {
  const view = new NodeView('a');
  const [first, second] = [{ ...range }, { ...range, offsetFrom: 8, offsetTo: undefined }];
  view.owe('process', first);
  view.owe('process', second);
  const frame = frameOver(at(5n), at(7n), { shed: [{ predicateIds: [predicate.id], events: 3 }] });
  const read: number[] = [];
  const owed = await owedAfter(view, ({ offset }) => {
    read.push(offset);
    if (read.length === 1) return { kind: 'frame', offset: 4, node: 'a', frame };
    view.settleOwed('process', first);
    return undefined;
  });
  assert.deepEqual(owed, [second]);
  // Nobody was asked for the first one, or that would have failed here.
  assert.deepEqual(read, [3, 3, 8]);
});
