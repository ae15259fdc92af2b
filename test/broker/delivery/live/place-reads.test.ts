/** A partition that cannot be read holds up no other one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PlaceReads } from '../../../../src/broker/delivery/live/place-reads.js';
import type { LogPlace } from '../../../../src/broker/log/fan-out.js';
import { BackplaneError } from '../../../../src/errors.js';
import { PLACE_REST_MS, PLACE_TROUBLE_MS_MAX } from '../../../../src/limits.js';
import { until } from '../../../harness/until.js';

/** A place whose reads end when and how the test says. */
class Place {
  offset = 0;
  reads = 0;
  #settle: { resolve: (item: unknown) => void; reject: (cause: Error) => void } | undefined;

  next(): Promise<unknown> {
    this.reads += 1;
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  gives(offset: number): void {
    this.offset = offset + 1;
    this.#settle!.resolve({ kind: 'frame', offset });
  }

  fails(code: 'unavailable' | 'cursor_invalid'): void {
    this.#settle!.reject(new BackplaneError(code, 'it has no leader'));
  }
}

function setUp() {
  const clock = { ms: 0, ready: 0 };
  const reads = new PlaceReads(
    () => {
      clock.ready += 1;
    },
    () => clock.ms,
  );
  const place = new Place();
  return { clock, reads, place, at: place as unknown as LogPlace };
}

test('who waits in vain is told when there is something, and it is read once', async () => {
  const { clock, reads, place, at } = setUp();
  assert.equal(await reads.next(at), undefined);
  assert.deepEqual([reads.waits(at), reads.holds(at), clock.ready], [true, true, 0]);
  assert.equal(await reads.next(at), undefined);
  assert.equal(place.reads, 1);
  place.gives(7);
  await until('to be told', () => clock.ready === 1);
  assert.deepEqual([reads.waits(at), reads.holds(at)], [false, true]);
  assert.deepEqual(await reads.next(at), { kind: 'frame', offset: 7 });
  assert.equal(reads.holds(at), false);
});

test('what was read before the log went back is not given', async () => {
  const { clock, reads, place, at } = setUp();
  await reads.next(at);
  place.gives(7);
  await until('to be told', () => clock.ready === 1);
  place.offset = 5;
  assert.equal(await reads.next(at), undefined);
  assert.equal(reads.holds(at), false);
});

test('one that cannot be read rests, is tried again, and ends the stream where that lasts', async () => {
  const { clock, reads, place, at } = setUp();
  const fail = async () => {
    const next = reads.next(at);
    place.fails('unavailable');
    return next;
  };
  assert.equal(await fail(), undefined);
  assert.deepEqual([reads.waits(at), reads.holds(at)], [true, false]);
  assert.equal(await reads.next(at), undefined);
  assert.equal(place.reads, 1, 'it rests');
  await until('to be told', () => clock.ready === 1);
  clock.ms += PLACE_REST_MS;
  const next = reads.next(at);
  place.gives(3);
  assert.deepEqual(await next, { kind: 'frame', offset: 3 });
  for (; clock.ms < PLACE_TROUBLE_MS_MAX; clock.ms += PLACE_REST_MS) assert.equal(await fail(), undefined);
  clock.ms += PLACE_REST_MS;
  await assert.rejects(fail(), { code: 'unavailable' });
});

test('any other failure ends it at once', async () => {
  const { reads, place, at } = setUp();
  const next = reads.next(at);
  place.fails('cursor_invalid');
  await assert.rejects(next, { code: 'cursor_invalid' });
});
