/** Throttling, whatever the order in which events come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Throttle } from '../../../src/broker/delivery/throttle.js';
import { THROTTLE_EVENTS_MAX } from '../../../src/limits.js';
import { checkThrottle } from '../../../src/subscriptions/request/throttle-request.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';

const SECOND_NS = 1_000_000_000n;

function element(comm: string, wallNs: bigint): Buffer {
  const writer = new EventWriter();
  writer.write({
    type: 'process.exec',
    topic: 'process',
    position: { epoch: 1, timeNs: wallNs, lane: 0, tie: 0 },
    wallNs,
    process: { pid: 1, comm },
  });
  return writer.take();
}

test('two passed events of a key are at least an interval apart, and only events nearer than that are held back', () => {
  const events = fc.array(
    fc.record({
      node: fc.constantFrom('a', 'b'),
      comm: fc.constantFrom('x', 'y', 'a much longer name than a key that is kept as it is'),
      // Late nodes and refills: anything may come after anything.
      decisecond: fc.integer({ min: 0, max: 600 }),
    }),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(events, fc.constantFrom('1s', '3s', '250ms'), fc.boolean(), (events, interval, byNode) => {
      const by = ['process.comm', ...(byNode ? ['node'] : [])];
      const request = checkThrottle(interval, by)!;
      const throttle = new Throttle(request);
      const delivered: (readonly [key: string, ns: bigint])[] = [];
      for (const { node, comm, decisecond } of events) {
        const ns = 1_700_000_000n * SECOND_NS + (BigInt(decisecond) * SECOND_NS) / 10n;
        const key = byNode ? `${node} ${comm}` : comm;
        const near = delivered.some(([other, otherNs]) => {
          const apart = ns > otherNs ? ns - otherNs : otherNs - ns;
          return other === key && apart < request.intervalNs;
        });
        assert.equal(throttle.admits(node, 'process', element(comm, ns)), !near);
        if (!near) delivered.push([key, ns]);
      }
    }),
  );
});

test('the throttle remembers a bounded number of keys, and always the newest', () => {
  const throttle = new Throttle(checkThrottle('1h', ['process.comm'])!);
  const admits = (number: number) => throttle.admits('a', 'process', element(`c${number}`, 1_700_000_000n * SECOND_NS));
  const all = THROTTLE_EVENTS_MAX + 100;
  for (let number = 0; number < all; number += 1) assert.ok(admits(number));
  for (let number = 100; number < all; number += 1) assert.equal(admits(number), false);
  assert.ok(admits(0));
});
