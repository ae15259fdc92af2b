/** Random frames for property tests: sound in every part. */
import fc from 'fast-check';
import { FRAME_LOSSES_MAX, LOSS_MESSAGE_CHARACTERS_MAX } from '../../../src/limits.js';
import type { Frame, Match, Shed, StatedLoss } from '../../../src/wire/frame/frame.js';
import type { HistoryFrame } from '../../../src/wire/frame/history-frame.js';

interface Columns {
  readonly eventSizes: number[];
  readonly timesNs: BigUint64Array;
  readonly lanes: number[];
  readonly ties: number[];
  readonly events: Buffer;
}

/** An element of EventBatch.events with a body of so many bytes. */
export function element(bodyBytes: number, fill: number | Uint8Array): Buffer {
  const length: number[] = [];
  let rest = bodyBytes;
  while (rest >= 128) {
    length.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  length.push(rest);
  return Buffer.concat([Buffer.from([0x2a, ...length]), Buffer.alloc(bodyBytes, fill)]);
}

const columns = fc
  .array(
    plain({
      size: fc.integer({ min: 0, max: 300 }),
      stepNs: fc.bigInt({ min: 1n, max: 1n << 40n }),
      lane: fc.integer({ min: 0, max: 0xffff }),
      tie: fc.integer({ min: 0, max: 0xffff_ffff }),
    }),
    { maxLength: 12 },
  )
  .map((events): Columns => {
    let timeNs = 10n;
    const elements = events.map(({ size }, index) => element(size, index));
    return {
      eventSizes: elements.map((each) => each.length),
      timesNs: BigUint64Array.from(events, ({ stepNs }) => {
        timeNs += stepNs;
        return timeNs;
      }),
      lanes: events.map(({ lane }) => lane),
      ties: events.map(({ tie }) => tie),
      events: Buffer.concat(elements),
    };
  });

function matchesFor(count: number): fc.Arbitrary<Match[]> {
  if (count === 0) return fc.constant([]);
  const indices = fc.uniqueArray(fc.integer({ min: 0, max: count - 1 }), { minLength: 1 });
  const match = fc.tuple(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.boolean(), indices);
  return fc.uniqueArray(match, { selector: ([id]) => id, maxLength: 4 }).map((matches) =>
    matches.map(([predicateId, all, some]) => ({
      predicateId,
      all,
      indices: all ? [] : some.sort((a, b) => a - b),
    })),
  );
}

function shedFor(count: number): fc.Arbitrary<Shed[]> {
  if (count > 0) return fc.constant([]);
  const shed = plain({
    predicateIds: fc.uniqueArray(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { minLength: 1, maxLength: 3 }),
    events: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  });
  return fc.uniqueArray(shed, { selector: ({ predicateIds }) => predicateIds.join(), maxLength: 4 });
}

const count = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const topic = fc.constantFrom('process', 'network', 'host', 'app.x-1');

const position = plain({
  epoch: count,
  timeNs: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  lane: fc.integer({ min: 0, max: 0xffff }),
  tie: fc.integer({ min: 0, max: 0xffff_ffff }),
});

const lossArbitrary: fc.Arbitrary<StatedLoss> = plain({
  reason: fc.constantFrom('disk_full', 'trace_changed', 'overhead', 'of_a_later_version'),
  events: count,
  unknown: fc.boolean(),
  from: position,
  to: fc.option(position, { nil: undefined }),
  message: fc.string({ maxLength: LOSS_MESSAGE_CHARACTERS_MAX }),
});

export const frameArbitrary: fc.Arbitrary<Frame> = columns.chain((each) =>
  plain({
    topic,
    coveredFrom: plain({
      epoch: fc.constant(3),
      timeNs: fc.bigInt({ min: 0n, max: 9n }),
      lane: fc.integer({ min: 0, max: 0xffff }),
      tie: fc.integer({ min: 0, max: 100 }),
    }),
    coveredTo: fc.constant({ epoch: 3, timeNs: (each.timesNs.at(-1) ?? 10n) + 1n, lane: 0xffff, tie: 0 }),
    count: fc.constant(each.eventSizes.length),
    matches: matchesFor(each.eventSizes.length),
    shed: shedFor(each.eventSizes.length),
    lost: count,
    lostUnknown: fc.boolean(),
    refused: fc.constant(false),
    continues: fc.boolean(),
    namedFields: fc.boolean(),
    losses: fc.array(lossArbitrary, { maxLength: FRAME_LOSSES_MAX }),
    late: count,
    watermarkNs: fc.bigInt({ min: 0n, max: 253_402_300_799_000_000_000n }),
    eventSizes: fc.constant(each.eventSizes),
    timesNs: fc.constant(each.timesNs),
    lanes: fc.constant(each.lanes),
    ties: fc.constant(each.ties),
    events: fc.constant(each.events),
  }),
);

export const historyFrameArbitrary: fc.Arbitrary<HistoryFrame> = columns.chain((each) =>
  plain({
    topic,
    epoch: count,
    wallNs: fc.constant(each.timesNs.map((timeNs) => timeNs * 3n)),
    eventSizes: fc.constant(each.eventSizes),
    timesNs: fc.constant(each.timesNs),
    lanes: fc.constant(each.lanes),
    ties: fc.constant(each.ties),
    matches: matchesFor(each.eventSizes.length),
    incomplete: fc.boolean(),
    events: fc.constant(each.events),
  }),
);

/** Copies without null prototypes, which deepEqual distinguishes from ordinary objects. */
function plain<T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
}
