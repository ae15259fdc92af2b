/** Times as people type them and as they are shown, in local time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTime, type TimeReading } from '../../src/cli/local-time.js';
import { EventTimes, TIME_FORMATS } from '../../src/cli/render/time.js';
import { BackplaneError } from '../../src/errors.js';

/** Saturday, 10:02:03 in Berlin. */
const NOW_MS = Date.parse('2026-11-28T09:02:03Z');
const BERLIN = { nowMs: NOW_MS, utc: false };
const UTC = { nowMs: NOW_MS, utc: true };

/** In a zone that is not the machine's. */
function inZone<T>(zone: string, run: () => T): T {
  const before = process.env.TZ;
  process.env.TZ = zone;
  try {
    return run();
  } finally {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  }
}

const READ: readonly (readonly [string, TimeReading, string])[] = [
  // As they are: the broker knows when it is asked.
  ['5m', BERLIN, '5m'],
  ['2026-11-28T04:00:00Z', BERLIN, '2026-11-28T04:00:00Z'],
  ['2026-11-28T04:00:00.123+01:00', BERLIN, '2026-11-28T04:00:00.123+01:00'],
  // Times in the form in which they are shown.
  ['04:00', BERLIN, '2026-11-28T03:00:00Z'],
  ['4:00', BERLIN, '2026-11-28T03:00:00Z'],
  ['04:00:00', BERLIN, '2026-11-28T03:00:00Z'],
  ['04:00:00.123456', BERLIN, '2026-11-28T03:00:00.123456Z'],
  ['2026-11-28T04:00:00', BERLIN, '2026-11-28T03:00:00Z'],
  ['2026-11-28 04:00', BERLIN, '2026-11-28T03:00:00Z'],
  ['2026-11-28 04:00:00.123456+01:00', BERLIN, '2026-11-28T03:00:00.123456Z'],
  ['2026-11-28 04:00:00.123456Z', BERLIN, '2026-11-28T04:00:00.123456Z'],
  ['2026-07-28 04:00', BERLIN, '2026-07-28T02:00:00Z'],
  ['2026-11-28', BERLIN, '2026-11-27T23:00:00Z'],
  ['today', BERLIN, '2026-11-27T23:00:00Z'],
  ['yesterday', BERLIN, '2026-11-26T23:00:00Z'],
  ['yesterday 04:00', BERLIN, '2026-11-27T03:00:00Z'],
  ['today 4:00', BERLIN, '2026-11-28T03:00:00Z'],
  ['04:00Z', BERLIN, '2026-11-28T04:00:00Z'],
  ['04:00 +05:30', BERLIN, '2026-11-27T22:30:00Z'],
  ['1795860123.5', BERLIN, '2026-11-28T10:02:03.5Z'],
  ['04:00', UTC, '2026-11-28T04:00:00Z'],
  ['2026-11-28 04:00', UTC, '2026-11-28T04:00:00Z'],
  ['yesterday', UTC, '2026-11-27T00:00:00Z'],
  // A clock that has not been today was yesterday; of an end, it is the first behind the start.
  ['10:02', BERLIN, '2026-11-28T09:02:00Z'],
  ['10:03', BERLIN, '2026-11-27T09:03:00Z'],
  ['04:00', { ...BERLIN, afterNs: BigInt(Date.parse('2026-11-27T22:00:00Z')) * 1_000_000n }, '2026-11-28T03:00:00Z'],
  ['23:30', { ...BERLIN, afterNs: BigInt(Date.parse('2026-11-27T22:00:00Z')) * 1_000_000n }, '2026-11-27T22:30:00Z'],
  ['09:00', { ...BERLIN, afterNs: BigInt(NOW_MS) * 1_000_000n }, '2026-11-29T08:00:00Z'],
];

test('times are read as people write them, and shown in local time', () => {
  inZone('Europe/Berlin', () => {
    for (const [text, reading, expected] of READ) assert.equal(readTime('--since', text, reading), expected, text);
  });
});

test('midnight, and the days on which the clock is changed, are shown right', () => {
  inZone('America/St_Johns', () => {
    const reading = { nowMs: Date.parse('2026-03-08T12:00:00Z'), utc: false };
    assert.equal(readTime('--since', 'today', reading), '2026-03-08T03:30:00Z');
    assert.equal(readTime('--since', '04:00', reading), '2026-03-08T06:30:00Z');
    assert.equal(readTime('--since', 'yesterday 04:00', reading), '2026-03-07T07:30:00Z');
  });
});

test('a text that is no time is refused with the forms that are accepted', () => {
  for (const text of [
    '25:00',
    '04:60',
    '2026-02-30',
    '2026-13-01 00:00',
    'noon',
    '2026-11-28+01:00',
    '4',
    ':00',
    'T',
    'Z',
    '1'.repeat(2000),
  ]) {
    assert.throws(
      () => readTime('--until', text, BERLIN),
      (thrown) =>
        thrown instanceof BackplaneError &&
        /^--until must be how long ago \(5m, 1h30m\), a time \(04:00, .* or RFC 3339, got "/.test(thrown.message) &&
        thrown.message.length < 300,
      text,
    );
  }
});

test('every time that is shown, in any form and zone, can be given as a start', () => {
  const ns = BigInt(Date.parse('2026-11-28T03:00:00Z')) * 1_000_000n + 123_456_789n;
  for (const zone of ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Asia/Kathmandu']) {
    inZone(zone, () => {
      for (const format of TIME_FORMATS) {
        for (const utc of [true, false]) {
          const times = new EventTimes({ format, utc });
          for (const shown of [times.text(ns), times.text(ns)]) {
            const read = readTime('--since', shown, { nowMs: NOW_MS, utc });
            // To the digits that are shown.
            assert.equal(Date.parse(read), Date.parse('2026-11-28T03:00:00.123Z'), `${zone} ${format} ${shown}`);
          }
        }
      }
    });
  }
});
