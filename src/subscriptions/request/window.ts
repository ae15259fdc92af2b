/**
 * The stretch of time that a subscription asks for, resolved once, by the broker's clock.
 *
 *   since, until  a duration back from now (`5m`, `1h30m`) or RFC 3339
 *
 * Meaning of a request without since, the same for every transport:
 *
 *   last          the last N of the past, and with follow what comes then
 *   cursor        what follows the cursor
 *   follow        from now on, until `until` and at most `limit` where they are given
 *   until, limit  from the start of what is recorded
 *   none of them  the last LAST_DEFAULT of the past
 */
import { invalid } from '../../errors.js';
import { LAST_DEFAULT, LAST_MAX } from '../../limits.js';
import { shown } from '../../text/shown.js';
import { parseDuration, parseTimestamp, timestampNsText } from '../../text/time-text.js';

export interface WindowRequest {
  /** Empty or undefined: not given. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly follow?: boolean | undefined;
  /** 0 or undefined: not given. */
  readonly last?: number | undefined;
  /** 0 or undefined: not given. */
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

export interface Window {
  /** Inclusive, nanoseconds since 1970. Undefined: as far back as is recorded, or from the cursor. */
  readonly sinceNs?: bigint | undefined;
  /** Exclusive. Undefined: what is recorded by now; with follow, no end. */
  readonly untilNs?: bigint | undefined;
  /** Whether live events follow, until `untilNs` where it is set. */
  readonly follow: boolean;
  /** Only the last N of the past. 0: all. */
  readonly last: number;
  /** Whether the past is asked for at all. */
  readonly history: boolean;
}

/** @throws BackplaneError invalid_argument, naming the field, the bound and the value. */
export function resolveWindow(request: WindowRequest, nowNs: bigint): Window {
  const { since = '', until = '', follow = false, last = 0, limit = 0, cursor = '' } = request;
  checkLast(last);
  if (cursor !== '' && since !== '') throw invalid('cursor', 'excludes since: a cursor is a place to start from');
  if (cursor !== '' && last > 0) throw invalid('cursor', 'excludes last: a cursor is a place to start from');
  const sinceNs = since === '' ? undefined : resolveSince(since, nowNs);
  const untilNs = until === '' ? undefined : resolveUntil(until, nowNs, follow);
  if (sinceNs !== undefined) checkOrder(sinceNs, untilNs, follow, nowNs);
  const history = sinceNs !== undefined || last > 0 || cursor !== '' || !follow;
  const given = since !== '' || until !== '' || last > 0 || limit > 0 || cursor !== '' || follow;
  return { sinceNs, untilNs, follow, last: given ? last : LAST_DEFAULT, history };
}

function checkLast(last: number): void {
  if (!Number.isSafeInteger(last) || last < 0 || last > LAST_MAX) {
    throw invalid('last', `must be a whole number from 0 to ${LAST_MAX}, got ${last}`);
  }
}

function checkOrder(sinceNs: bigint, untilNs: bigint | undefined, follow: boolean, nowNs: bigint): void {
  if (untilNs !== undefined && untilNs <= sinceNs) {
    throw invalid('until', `must be after since (${timestampNsText(sinceNs)}), got ${timestampNsText(untilNs)}`);
  }
  if (untilNs === undefined && !follow && sinceNs >= nowNs) {
    throw invalid('since', `must be before now (${timestampNsText(nowNs)}) without follow`);
  }
}

function resolveSince(text: string, nowNs: bigint): bigint {
  const sinceNs = resolveTime('since', text, nowNs);
  if (sinceNs > nowNs) {
    throw invalid('since', `must not be in the future (now is ${timestampNsText(nowNs)}), got ${shown(text)}`);
  }
  return sinceNs;
}

function resolveUntil(text: string, nowNs: bigint, follow: boolean): bigint {
  const untilNs = resolveTime('until', text, nowNs);
  if (follow && untilNs <= nowNs) {
    const now = timestampNsText(nowNs);
    throw invalid('until', `must be in the future with follow (now is ${now}), got ${shown(text)}`);
  }
  // Without follow there is nothing to wait for: a later end is now.
  return !follow && untilNs > nowNs ? nowNs : untilNs;
}

/** Nanoseconds since 1970; never before. */
function resolveTime(field: string, text: string, nowNs: bigint): bigint {
  const duration = parseDuration(text);
  if (duration !== undefined && duration < 0n) {
    throw invalid(field, `must be a duration back from now, without "-", got ${shown(text)}`);
  }
  const timeNs = duration === undefined ? parseTimestamp(text) : nowNs - duration;
  if (timeNs === undefined) {
    const forms = 'a duration such as "5m" or "1h30m", or a time such as "2026-01-31T12:00:00Z"';
    throw invalid(field, `must be ${forms}, got ${shown(text)}`);
  }
  return timeNs < 0n ? 0n : timeNs;
}
