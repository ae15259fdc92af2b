/** Durations, times and windows of time in requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../../src/errors.js';
import { LAST_DEFAULT, LAST_MAX } from '../../../src/limits.js';
import { resolveWindow, type WindowRequest } from '../../../src/subscriptions/request/window.js';
import {
  DURATION_NS_MAX,
  durationText,
  parseDuration,
  parseTimestamp,
  TIMESTAMP_NS_MAX,
  TIMESTAMP_NS_MIN,
  timestampNsText,
} from '../../../src/text/time-text.js';
import { runs } from '../../harness/runs.js';

const NOW = parseTimestamp('2026-11-23T12:00:00Z') as bigint;
const S = 1_000_000_000n;

test('durations are parsed, and invalid ones refused', () => {
  const cases: [string, bigint | undefined][] = [
    ['300ms', 300_000_000n],
    ['10s', 10n * S],
    ['5m', 300n * S],
    ['2h', 7200n * S],
    ['1d', 86_400n * S],
    ['1h30m', 5400n * S],
    ['1.5h', 5400n * S],
    ['0.000000001s', 1n],
    ['7us8ns', 7008n],
    ['-5m', -300n * S],
    ['0', 0n],
    ['0s', 0n],
    ['9223372036854775807ns', DURATION_NS_MAX],
    ['9223372036854775808ns', undefined],
    ['5', undefined],
    ['5 m', undefined],
    ['m', undefined],
    ['5M', undefined],
    ['5minutes', undefined],
    ['.5s', undefined],
    ['1e3s', undefined],
    ['', undefined],
    ['9'.repeat(4000), undefined],
  ];
  for (const [text, expected] of cases) assert.equal(parseDuration(text), expected, text);
});

test('times are parsed, and invalid ones refused', () => {
  const cases: [string, bigint | undefined][] = [
    ['1970-01-01T00:00:00Z', 0n],
    ['1970-01-01T00:00:00.000000001Z', 1n],
    ['1969-12-31T23:59:59.999999999Z', -1n],
    ['2026-11-23T12:00:00+05:30', NOW - 19_800n * S],
    ['2026-11-23t12:00:00.5-01:00', NOW + 3600n * S + S / 2n],
    ['2024-02-29T00:00:00Z', 1_709_164_800n * S],
    ['0001-01-01T00:00:00Z', TIMESTAMP_NS_MIN],
    ['9999-12-31T23:59:59.999999999Z', TIMESTAMP_NS_MAX],
    ['9999-12-31T23:59:59-01:00', undefined],
    ['2026-02-29T00:00:00Z', undefined],
    ['2026-13-01T00:00:00Z', undefined],
    ['2026-00-01T00:00:00Z', undefined],
    ['2026-11-23T24:00:00Z', undefined],
    ['2026-11-23T12:00:60Z', undefined],
    ['2026-11-23T12:00:00+24:00', undefined],
    ['2026-11-23T12:00:00.1234567890Z', undefined],
    ['2026-11-23T12:00:00', undefined],
    ['2026-11-23', undefined],
    ['today', undefined],
  ];
  for (const [text, expected] of cases) assert.equal(parseTimestamp(text), expected, text);
});

test('a printed duration or time is read back as the same', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -DURATION_NS_MAX, max: DURATION_NS_MAX }), (ns) => {
      assert.equal(parseDuration(durationText(ns)), ns, durationText(ns));
    }),
  );
  fc.assert(
    fc.property(fc.bigInt({ min: TIMESTAMP_NS_MIN, max: TIMESTAMP_NS_MAX }), (ns) => {
      assert.equal(parseTimestamp(timestampNsText(ns)), ns, timestampNsText(ns));
    }),
  );
});

test('times agree with Date wherever Date can express them', () => {
  fc.assert(
    fc.property(fc.date({ min: new Date(0), max: new Date('9999-12-31T00:00:00Z'), noInvalidDate: true }), (date) => {
      assert.equal(parseTimestamp(date.toISOString()), BigInt(date.getTime()) * 1_000_000n);
    }),
  );
});

test('windows are resolved from since, until, last and first', () => {
  const at = (seconds: bigint): bigint => NOW + seconds * S;
  const past = { sinceNs: undefined, untilNs: undefined, follow: false, last: 0, history: true };
  const cases: [WindowRequest, unknown][] = [
    [{}, { ...past, last: LAST_DEFAULT }],
    [
      { since: '', until: '', cursor: '', last: 0, limit: 0, follow: false },
      { ...past, last: LAST_DEFAULT },
    ],
    [{ limit: 5 }, past],
    [
      { limit: 5, follow: true },
      { ...past, follow: true, history: false },
    ],
    [
      { limit: 5, last: 3 },
      { ...past, last: 3 },
    ],
    [{ limit: 5, cursor: 'c' }, past],
    [
      { limit: 5, until: '5m' },
      { ...past, untilNs: at(-300n) },
    ],
    [{ follow: true }, { ...past, follow: true, history: false }],
    [{ since: '5m' }, { ...past, sinceNs: at(-300n) }],
    [
      { since: '5m', follow: true },
      { ...past, sinceNs: at(-300n), follow: true },
    ],
    [
      { since: '0s', follow: true },
      { ...past, sinceNs: NOW, follow: true },
    ],
    [
      { since: '1h', until: '5m' },
      { ...past, sinceNs: at(-3600n), untilNs: at(-300n) },
    ],
    [{ until: '5m' }, { ...past, untilNs: at(-300n) }],
    [{ until: '2026-11-23T13:00:00Z' }, { ...past, untilNs: NOW }],
    [
      { until: '2026-11-23T13:00:00Z', follow: true },
      { ...past, untilNs: at(3600n), follow: true, history: false },
    ],
    [{ since: '2026-11-23T11:00:00Z' }, { ...past, sinceNs: at(-3600n) }],
    [{ since: '36500d' }, { ...past, sinceNs: 0n }],
    [{ last: 20 }, { ...past, last: 20 }],
    [
      { last: LAST_MAX, follow: true },
      { ...past, last: LAST_MAX, follow: true },
    ],
    [{ cursor: 'c' }, past],
    [
      { cursor: 'c', follow: true },
      { ...past, follow: true },
    ],
  ];
  for (const [request, expected] of cases) {
    assert.deepEqual(resolveWindow(request, NOW), expected, JSON.stringify(request));
  }
});

test('impossible windows are refused, naming the field, the bound and the value', () => {
  const cases: [WindowRequest, string][] = [
    [
      { since: 'yesterday' },
      'since: must be a duration such as "5m" or "1h30m", or a time such as "2026-01-31T12:00:00Z", got "yesterday"',
    ],
    [{ since: '5' }, 'since: must be a duration such as'],
    [{ until: '5x' }, 'until: must be a duration such as'],
    [{ since: '-5m' }, 'since: must be a duration back from now, without "-", got "-5m"'],
    [
      { since: '2026-11-23T12:00:01Z' },
      'since: must not be in the future (now is 2026-11-23T12:00:00Z), got "2026-11-23T12:00:01Z"',
    ],
    [{ since: '5m', until: '10m' }, 'until: must be after since (2026-11-23T11:55:00Z), got 2026-11-23T11:50:00Z'],
    [{ since: '5m', until: '5m' }, 'until: must be after since'],
    [{ since: '0s' }, 'since: must be before now (2026-11-23T12:00:00Z) without follow'],
    [{ until: '5m', follow: true }, 'until: must be in the future with follow (now is 2026-11-23T12:00:00Z), got "5m"'],
    [{ since: '0s', until: '0s', follow: true }, 'until: must be in the future with follow'],
    [{ cursor: 'c', since: '5m' }, 'cursor: excludes since'],
    [{ cursor: 'c', last: 5 }, 'cursor: excludes last'],
    [{ last: LAST_MAX + 1 }, 'last: must be a whole number from 0 to 10000, got 10001'],
    [{ last: -1 }, 'last: must be a whole number from 0 to 10000, got -1'],
    [{ last: 1.5 }, 'last: must be a whole number from 0 to 10000, got 1.5'],
    [{ last: Number.NaN }, 'last: must be a whole number from 0 to 10000, got NaN'],
  ];
  for (const [request, expected] of cases) {
    assert.throws(
      () => resolveWindow(request, NOW),
      (cause: unknown) => {
        assert.ok(cause instanceof BackplaneError && cause.code === 'invalid_argument');
        assert.ok(cause.message.startsWith(expected), `${cause.message}\n${expected}`);
        return true;
      },
    );
  }
});

test('every accepted window is a stretch of time that has begun', () => {
  const time = fc.oneof(
    fc.constantFrom(undefined, '', '0s', 'x', '-1s'),
    fc.bigInt({ min: 0n, max: 10n ** 18n }).map(durationText),
    fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }).map((ns) => timestampNsText(NOW + ns)),
  );
  const request = fc.record({
    since: time,
    until: time,
    follow: fc.boolean(),
    last: fc.constantFrom(0, 7),
    limit: fc.constantFrom(0, 7),
    cursor: fc.constantFrom('', 'c'),
  });
  fc.assert(
    fc.property(request, (each) => {
      let window: ReturnType<typeof resolveWindow>;
      try {
        window = resolveWindow(each, NOW);
      } catch (cause) {
        assert.ok(cause instanceof BackplaneError, String(cause));
        return;
      }
      const { sinceNs, untilNs, follow, last, history } = window;
      const asked = each.since || each.until || each.last || each.limit || each.cursor || each.follow;
      assert.equal(last, asked ? each.last : LAST_DEFAULT);
      if (sinceNs !== undefined) assert.ok(sinceNs >= 0n && sinceNs <= NOW);
      if (sinceNs !== undefined && untilNs !== undefined) assert.ok(sinceNs < untilNs);
      if (untilNs !== undefined) assert.equal(untilNs > NOW, follow);
      assert.ok(history || follow, 'something is asked for');
    }),
    { numRuns: runs(1000) },
  );
});
