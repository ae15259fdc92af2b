/** Refusals of a broker are shown with the names of flags. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inFlagNames } from '../../src/cli/flag-names.js';
import { BackplaneError } from '../../src/errors.js';
import { CURSOR_BYTES_MAX } from '../../src/limits.js';
import { checkSubscription, type SubscriptionRequest } from '../../src/subscriptions/request/subscription-request.js';

const NOW = BigInt(Date.UTC(2026, 10, 23)) * 1_000_000n;

function refusal(request: SubscriptionRequest): string {
  try {
    checkSubscription(request, NOW);
  } catch (cause) {
    assert.ok(cause instanceof BackplaneError);
    return inFlagNames(cause).message;
  }
  return assert.fail(`${JSON.stringify(request)} is accepted`);
}

test('a refusal of the broker is shown with the names of flags, whatever the values are', () => {
  const rows: [SubscriptionRequest, RegExp][] = [
    [{ topics: ['since'] }, /^--topic: unknown topic "since"/],
    [{ nodes: ['-last, follow'] }, /^--node: must consist of .*, got "-last, follow"$/],
    [{ filter: 'since == ", last"' }, /^filter: /],
    [{ since: 'with follow' }, /^--since: must be a duration .*, got "with follow"$/],
    [{ since: '0s' }, /^--since: must be before now \(.*\) without --follow$/],
    [{ since: '5m', until: '10m' }, /^--until: must be after --since \(/],
    [{ until: '5m', follow: true }, /^--until: must be in the future with --follow \(/],
    [{ last: 10_001 }, /^--last: must be a whole number from 0 to 10000, got 10001$/],
    [{ limit: -1 }, /^--limit: must be a whole number/],
    [{ cursor: 'c', since: '5m' }, /^--cursor: excludes --since: a cursor is a place to start from$/],
    [{ cursor: 'c', last: 5 }, /^--cursor: excludes --last: /],
    [{ cursor: 'c'.repeat(CURSOR_BYTES_MAX + 1) }, /^--cursor: must be at most 4096 bytes/],
    [{ follow: 'perhaps' }, /^--follow: must be true or false, got "perhaps"$/],
    [{ includeSelf: 'include_self' }, /^--include-self: must be true or false, got "include_self"$/],
    [{ fields: ['process.pit'] }, /^--field-mask: unknown field "process.pit", did you mean "process.pid"/],
    [{ refill: true }, /^--refill: needs --follow: /],
    [{ throttle: '5s', last: 5 }, /^--throttle: excludes --last: which events were last is decided at the nodes$/],
    [{ throttle: '5s' }, /^--throttle: needs --since, --until, --limit or --follow, without which the last few come: /],
    [{ throttleBy: ['node'] }, /^--throttle-by: needs --throttle: /],
    [{ lagPolicy: 'drop' }, /^--lag-policy: must be keep or skip, got "drop"$/],
    [{ lagMax: '5s', follow: true }, /^--lag-max: needs the lag policy skip: /],
    [{ latency: '1us', follow: true }, /^--latency: must be a duration of 1ms to 1m /],
    [{ latency: '25ms' }, /^--latency: needs --follow: /],
    [{ lagPolicy: 'skip' }, /^--lag-policy: skip needs --follow: /],
  ];
  for (const [request, expected] of rows) assert.match(refusal(request), expected);
});

test('a message that is not about a request is shown unchanged', () => {
  const error = new BackplaneError('unavailable', 'node: with last or since');
  assert.equal(inFlagNames(error), error);
  assert.equal(inFlagNames(new Error('or since')).message, 'or since');
  const cursor = new BackplaneError('cursor_invalid', 'cursor is of another broker: begin with since or last instead');
  assert.equal(inFlagNames(cursor).message, '--cursor is of another broker: begin with --since or --last instead');
});
