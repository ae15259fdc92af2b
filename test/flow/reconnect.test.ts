/** How long a client waits before it connects again, and to which broker. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackplaneError } from '../../src/errors.js';
import { BrokerRing, isSentAway, reconnectDelayMs } from '../../src/flow/reconnect.js';
import {
  BROKER_SUSPECT_MS,
  RECONNECT_MOVE_MS_MAX,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  RECONNECT_SOON_ATTEMPTS,
  RECONNECT_SOON_MS_MAX,
} from '../../src/limits.js';

test('attempts are close together while a broker may be restarting, and become rare when that lasts', () => {
  for (let failures = 1; failures <= 100; failures += 1) {
    assert.equal(reconnectDelayMs(failures, true, 0), RECONNECT_MS_MIN);
    const longestMs = reconnectDelayMs(failures, true, 1);
    const most = failures > RECONNECT_SOON_ATTEMPTS ? RECONNECT_MS_MAX : RECONNECT_SOON_MS_MAX;
    assert.ok(longestMs > RECONNECT_MS_MIN && longestMs <= most, `${failures}: ${longestMs} ms`);
    assert.ok(longestMs >= reconnectDelayMs(failures - 1, true, 1));
  }
  assert.equal(reconnectDelayMs(RECONNECT_SOON_ATTEMPTS, true, 1), RECONNECT_SOON_MS_MAX);
  assert.equal(reconnectDelayMs(1_000_000, true, 1), RECONNECT_MS_MAX);
});

test('attempts become rare soon where the broker answers and the session fails all the same', () => {
  assert.equal(reconnectDelayMs(1, false, 1), reconnectDelayMs(1, true, 1));
  assert.equal(reconnectDelayMs(6, false, 1), RECONNECT_MS_MAX);
});

/** A ring whose clock stands, and whose waits are the longest. */
function ringOf(brokers: readonly string[], zone = '', random = () => 1) {
  const clock = { ms: 1_000 };
  return { clock, ring: new BrokerRing(brokers, zone, () => clock.ms, random) };
}

const TWO_ZONES = ['a:1@x', 'b:1@y', 'c:1@x', 'd:1', 'e:1@y'];

test('a broker is preferred that is in the own zone where others are not', () => {
  const preferred = (brokers: readonly string[], zone: string) => {
    const ring = new BrokerRing(brokers, zone);
    return ring.brokers.filter((broker) => ring.prefers(broker));
  };
  assert.deepEqual(preferred(TWO_ZONES, 'x'), ['a:1', 'c:1']);
  assert.deepEqual(preferred(TWO_ZONES, ''), []);
  assert.deepEqual(preferred(TWO_ZONES, 'z'), []);
  assert.deepEqual(preferred(['a:1@x', 'c:1@x'], 'x'), []);
});

test('brokers of the own zone come first, and clients spread over equal ones', () => {
  const first = new Set<string>();
  for (let draw = 0; draw < 100; draw += 1) {
    const order = new BrokerRing(
      TWO_ZONES,
      'y',
      () => 0,
      () => (draw * 0.37) % 1,
    ).order();
    assert.deepEqual([...order.slice(0, 2)].sort(), ['b:1', 'e:1']);
    assert.deepEqual([...order].sort(), ['a:1', 'b:1', 'c:1', 'd:1', 'e:1']);
    first.add(order[0]!);
  }
  assert.equal(first.size, 2);
  const anywhere = new Set(Array.from({ length: 100 }, () => new BrokerRing(TWO_ZONES).next()));
  assert.equal(anywhere.size, 5);
});

test('a broker that failed is asked after all others, and after its time the own zone comes first again', () => {
  const { ring, clock } = ringOf(['near:1@x', 'far:1@y'], 'x');
  assert.equal(ring.next(), 'near:1');
  assert.equal(ring.waitMs('near:1'), 0);
  ring.failed('near:1');
  assert.equal(ring.next(), 'far:1');
  assert.equal(ring.waitMs('far:1'), RECONNECT_MOVE_MS_MAX);
  clock.ms += RECONNECT_MOVE_MS_MAX;
  ring.answered('far:1');
  clock.ms += BROKER_SUSPECT_MS;
  // The one that answers is kept.
  assert.equal(ring.next(), 'far:1');
  ring.failed('far:1');
  assert.equal(ring.next(), 'near:1');
});

test('whom a broker sends away in its turn goes at once, and others spread', () => {
  const { ring } = ringOf(['near:1@x', 'far:1@y'], 'x');
  const told = (code: 'unavailable' | 'resource_exhausted', retryAfterMs?: number) =>
    isSentAway(new BackplaneError(code, 'the broker is retired', { retryAfterMs }));
  assert.deepEqual(
    [told('unavailable', 0), told('unavailable', 2_000), told('unavailable'), told('resource_exhausted', 0)],
    [true, false, false, false],
  );
  ring.failed('near:1', true, true);
  assert.deepEqual([ring.next(), ring.waitMs('far:1')], ['far:1', 0]);
});

test('where all failed the one that is free first is waited for, and none is hammered', () => {
  const { ring, clock } = ringOf(['a:1', 'b:1']);
  const asked: string[] = [];
  const waits: number[] = [];
  for (let attempt = 0; attempt < 40; attempt += 1) {
    const broker = ring.next();
    const waitMs = ring.waitMs(broker);
    clock.ms += waitMs;
    ring.failed(broker, false);
    asked.push(broker);
    waits.push(waitMs);
  }
  assert.equal(asked.filter((broker) => broker === 'a:1').length, 20);
  // One attempt at each in the longest wait.
  const lastTwoMs = waits.at(-1)! + waits.at(-2)!;
  assert.ok(lastTwoMs >= RECONNECT_MS_MAX && lastTwoMs <= RECONNECT_MS_MAX + 1, String(waits));
});

test('calls that fail together are one failure, and a connection that held makes those before it forgotten', () => {
  const { ring, clock } = ringOf(['a:1']);
  for (let call = 0; call < 50; call += 1) ring.failed('a:1');
  assert.equal(ring.waitMs('a:1'), reconnectDelayMs(1, true, 1));
  for (let attempt = 2; attempt <= 3; attempt += 1) {
    clock.ms += ring.waitMs('a:1');
    ring.answered('a:1');
    ring.failed('a:1');
    assert.equal(ring.waitMs('a:1'), reconnectDelayMs(attempt, true, 1));
  }
  clock.ms += ring.waitMs('a:1');
  ring.answered('a:1');
  clock.ms += 2 * RECONNECT_MS_MAX + 1;
  ring.failed('a:1');
  assert.equal(ring.waitMs('a:1'), reconnectDelayMs(1, true, 1));
});
