/** Encoded events are selected and sent on without being decoded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { eventToJson } from '../../../src/wire/event/event-json.js';
import { eventWallNs } from '../../../src/wire/event/event-time.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { encodeEventBatch, selectEvents, selectMatching, sliceEvents } from '../../../src/wire/frame/splice.js';
import { type EventMessage, subscribeResponseCodec } from '../../../src/wire/messages.js';
import { element, frameArbitrary } from '../../harness/arbitrary/frame-arbitrary.js';

test('a selection has the elements that a filter gives, in one view per run', () => {
  fc.assert(
    fc.property(frameArbitrary, fc.nat(12), fc.nat(12), fc.nat(12), (frame, a, b, countMax) => {
      const [from, to] = [Math.min(a, b, frame.count), Math.min(Math.max(a, b), frame.count)];
      const elements: Buffer[] = [];
      let offset = 0;
      for (const size of frame.eventSizes) {
        elements.push(frame.events.subarray(offset, offset + size));
        offset += size;
      }
      for (const match of [...frame.matches, { all: true, indices: [] as number[] }]) {
        const wanted = elements
          .map((_, index) => index)
          .filter((index) => index >= from && index < to && (match.all || match.indices.includes(index)))
          .slice(0, countMax);
        const selection = selectEvents(frame, match, from, to, countMax);
        assert.deepEqual(Buffer.concat(selection.parts), Buffer.concat(wanted.map((index) => elements[index]!)));
        assert.equal(selection.count, wanted.length);
        assert.equal(selection.next, wanted.length === 0 ? from : wanted.at(-1)! + 1);
        const runs = wanted.filter((index, at) => at === 0 || wanted[at - 1] !== index - 1).length;
        assert.equal(selection.parts.length, runs);
      }
    }),
  );
});

test('of several match lists each event comes once, and it is known which lists have it', () => {
  const lists = fc.array(
    fc.option(fc.oneof(fc.constant(true), fc.uniqueArray(fc.nat(19), { minLength: 1 })), { nil: undefined }),
    { minLength: 1, maxLength: 5 },
  );
  const refusals = fc.option(fc.uniqueArray(fc.nat(19)), { nil: undefined });
  fc.assert(
    fc.property(
      lists,
      fc.nat(20),
      fc.nat(20),
      fc.integer({ min: 1, max: 25 }),
      refusals,
      (each, a, b, countMax, no) => {
        const elements = Array.from({ length: 20 }, (_, at) => element(at + 1, at));
        const eventSizes = elements.map(({ length }) => length);
        const columns = {
          eventSizes,
          timesNs: new BigUint64Array(20),
          lanes: [],
          ties: [],
          events: Buffer.concat(elements),
        };
        const matches = each.map((list) => {
          if (list === undefined) return undefined;
          return list === true ? { all: true, indices: [] } : { all: false, indices: list.sort((x, y) => x - y) };
        });
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const admit = no && ((bytes: Buffer) => !no.includes(bytes.length - 3));
        const got = selectMatching(columns, matches, from, to, countMax, admit);
        const has = (list: (typeof each)[number], at: number) => list === true || (list?.includes(at) ?? false);
        const taken: number[] = [];
        const refused: number[] = [];
        for (let at = from; at < to && taken.length < countMax; at++) {
          if (each.some((list) => has(list, at))) (no?.includes(at) ? refused : taken).push(at);
        }
        assert.deepEqual(Buffer.concat(got.parts), Buffer.concat(taken.map((at) => elements[at]!)));
        assert.deepEqual([got.count, got.refused], [taken.length, refused.length]);
        assert.deepEqual(
          got.matched,
          each.map((list) => ({
            indices: taken.flatMap((at, place) => (has(list, at) ? [place] : [])),
            refused: refused.filter((at) => has(list, at)).length,
          })),
        );
      },
    ),
  );
});

test('a spliced batch is a message that any client decodes', () => {
  const writer = new EventWriter();
  const count = 700;
  for (let pid = 1; pid <= count; pid++) {
    const position = { epoch: 1, timeNs: BigInt(pid), lane: 0, tie: 0 };
    writer.write({ type: 'process.exec', topic: 'process', position, wallNs: BigInt(pid), process: { pid } });
  }
  const matches = [
    { selector: 'all', all: true, indices: [] },
    { selector: '~'.repeat(64), all: false, indices: [0, 127, 128, 699] },
  ];
  const header = { node: 'näme', topic: 'process', history: true, refill: true, cursor: 'c'.repeat(200), matches };
  const run = writer.take();
  for (const parts of [[], [run], [run, run]]) {
    const { events } = subscribeResponseCodec.decode(encodeEventBatch(header, parts), 1 << 20);
    assert.deepEqual({ ...events, events: [] }, { ...header, events: [] });
    assert.equal(events?.events.length, parts.length * count);
    assert.equal(events?.events.at(-1)?.process?.pid ?? 0, parts.length * count === 0 ? 0 : count);
  }
});

function written(write: (writer: EventWriter) => void): { element: Buffer; event: EventMessage } {
  const writer = new EventWriter();
  write(writer);
  const element = writer.take();
  const { events } = subscribeResponseCodec.decode(
    encodeEventBatch({ node: '', topic: '', history: false, cursor: '' }, [element]),
    1 << 20,
  );
  return { element, event: events!.events[0]! };
}

test('the wall time of an element is read without decoding it', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }), (wallNs) => {
      const { element } = written((writer) =>
        writer.write({
          type: 'process.exit',
          topic: 'process',
          position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 },
          wallNs,
          process: { pid: 1 },
        }),
      );
      assert.equal(eventWallNs(element), wallNs);
      assert.equal(sliceEvents({ ...columnsOf(element) }, 0, 1).parts[0]!.length, element.length);
    }),
  );
});

function columnsOf(element: Buffer) {
  return { eventSizes: [element.length], timesNs: BigUint64Array.of(1n), lanes: [0], ties: [0], events: element };
}

test('JSON is canonical: defaults left out, present optionals kept, long numbers as text', () => {
  const { event } = written((writer) =>
    writer.write({
      type: 'process.exec',
      topic: 'process',
      position: { epoch: 2, timeNs: 1n << 60n, lane: 0, tie: 0 },
      wallNs: 1_763_930_000_000_000_001n,
      process: { pid: 7, comm: '0', commandArgs: ['sh', '', '0'], user: { id: 0 } },
    }),
  );
  assert.deepEqual(eventToJson(event, 'a', 'process'), {
    type: 'process.exec',
    time: '2025-11-23T20:33:20.000000001Z',
    position: { epoch: '2', timeNs: '1152921504606846976' },
    process: { pid: 7, comm: '0', commandArgs: ['sh', '', '0'], user: { id: 0 } },
    topic: 'process',
    node: 'a',
  });
});
