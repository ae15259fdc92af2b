/** The trace clock kept by the process's own, through suspends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statsNow, TraceClock, uptimeNow } from '../../../../src/sensor-agent/source/tracefs/clock.js';

const HOUR_NS = 3_600_000_000_000n;

/** A reading is left out when this process was off the CPU during it: ask again. */
function settled(clock: TraceClock): bigint {
  for (let i = 0; i < 100; i++) clock.renew();
  return clock.nowNs() - process.hrtime.bigint();
}

test('time spent suspended is added to the clock, and reading noise is not', () => {
  let suspendedNs = 0n;
  const clock = new TraceClock(() => process.hrtime.bigint() + suspendedNs);
  assert.ok(settled(clock) <= 0n);
  suspendedNs = 2_000_000n;
  assert.ok(settled(clock) <= 0n);
  suspendedNs = HOUR_NS;
  assert.ok(settled(clock) > HOUR_NS / 2n);
  const { bootNs } = clock.pair();
  assert.ok(bootNs - process.hrtime.bigint() > HOUR_NS / 2n);
});

test("a clock that cannot be read is replaced by the process's own", () => {
  const clock = new TraceClock(() => statsNow('/nonexistent'));
  assert.ok(settled(clock) <= 0n);
  const { wallNs } = clock.pair();
  assert.ok(wallNs <= BigInt(Date.now()) * 1_000_000n);
});

test('uptime equals the boot clock', () => {
  const first = uptimeNow()!;
  assert.ok(first > 0n);
  assert.ok(uptimeNow()! >= first);
});
