/** Encoded events are selected and sent on without being decoded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { eventToJson } from '../../../src/wire/event/event-json.js';
import { eventWallNs } from '../../../src/wire/event/event-time.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { encodeEventBatch, selectEvents, sliceEvents } from '../../../src/wire/frame/splice.js';
import { type EventMessage, subscribeResponseCodec } from '../../../src/wire/messages.js';
import { frameArbitrary } from '../../harness/arbitrary/frame-arbitrary.js';

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

test('a spliced batch is a message that any client decodes', () => {
  const writer = new EventWriter();
  const count = 700;
  for (let pid = 1; pid <= count; pid++) {
    const position = { epoch: 1, timeNs: BigInt(pid), lane: 0, tie: 0 };
    writer.write({ type: 'process.exec', topic: 'process', position, wallNs: BigInt(pid), process: { pid } });
  }
  const header = { node: 'näme', topic: 'process', history: true, refill: true, cursor: 'c'.repeat(200) };
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
