/**
 * Converts times as people write them, and as `observe` shows them, to RFC 3339.
 *
 *   time  := duration | RFC 3339 | unix | (day)? (clock zone?)?      one of day and clock at least
 *   day   := 2026-11-28 | today | yesterday
 *   clock := 04:00 | 04:00:00 | 04:00:00.123456
 *   zone  := Z | +01:00                  without: this machine's, or UTC where that is asked for
 *   unix  := seconds since 1970, with a fraction
 */
import { BackplaneError } from '../errors.js';
import { msToNs } from '../nanoseconds.js';
import { shown } from '../text/shown.js';
import { parseDuration, parseTimestamp, timestampNsText } from '../text/time-text.js';

export interface TimeReading {
  readonly nowMs: number;
  readonly utc: boolean;
  /** For a clock without a day: the next such time after this, if it is given; else the last one before now. */
  readonly afterNs?: bigint | undefined;
}

const SECOND_NS = 1_000_000_000n;
const DAY_MS = 86_400_000;
const LOCAL =
  /^(?:(today|yesterday)|([0-9]{4})-([0-9]{2})-([0-9]{2}))?(?:(?:^|[Tt]|[ ]+)([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?)?[ ]*([Zz]|[+-][0-9]{2}:[0-9]{2})?$/;
const UNIX = /^([0-9]{9,11})(?:\.([0-9]{1,9}))?$/;

/**
 * The time in a form that brokers accept. @throws BackplaneError invalid_argument, naming the flag and the forms that
 * it takes.
 */
export function readTime(flag: string, text: string, reading: TimeReading): string {
  const given = text.trim();
  // Durations and RFC 3339 pass unchanged: the broker resolves durations when it is asked.
  if (parseDuration(given) !== undefined || parseTimestamp(given) !== undefined) return given;
  const ns = unixNs(given) ?? localNs(given, reading);
  if (ns !== undefined && ns >= 0n) return timestampNsText(ns);
  const forms = 'how long ago (5m, 1h30m), a time (04:00, "2026-11-28 04:00:00", "yesterday 04:00") or RFC 3339';
  throw new BackplaneError('invalid_argument', `${flag} must be ${forms}, got ${shown(text)}`);
}

function unixNs(text: string): bigint | undefined {
  const match = UNIX.exec(text);
  return match ? BigInt(match[1]!) * SECOND_NS + fractionNs(match[2]) : undefined;
}

function localNs(text: string, { nowMs, utc, afterNs }: TimeReading): bigint | undefined {
  const match = text === '' ? null : LOCAL.exec(text);
  if (!match) return undefined;
  const [, word, year, month, date, hour, minute, second, fraction, zone] = match;
  // A zone needs a clock: "2026-11-28+01:00" is ambiguous.
  if (hour === undefined && zone !== undefined) return undefined;
  const clock: Clock = { hour: Number(hour ?? 0), minute: Number(minute ?? 0), second: Number(second ?? 0) };
  if (clock.hour > 23 || clock.minute > 59 || clock.second > 59) return undefined;
  const place = placeOf(zone, utc);
  const rest = fractionNs(fraction);
  if (year !== undefined) {
    const day = { year: Number(year), month: Number(month), date: Number(date) };
    return dayExists(day) ? nsOf(day, clock, place) + rest : undefined;
  }
  const today = dayOf(nowMs, place);
  if (word !== undefined) return nsOf(word.toLowerCase() === 'today' ? today : before(today), clock, place) + rest;
  return nearestNs(today, clock, place, rest, msToNs(nowMs), afterNs);
}

interface Clock {
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

interface Day {
  readonly year: number;
  /** From 1. */
  readonly month: number;
  readonly date: number;
}

/** Minutes ahead of UTC; undefined: this machine's zone, which may differ from day to day. */
type Place = number | undefined;

function placeOf(zone: string | undefined, utc: boolean): Place {
  if (zone === undefined) return utc ? 0 : undefined;
  if (zone.length === 1) return 0;
  return (zone.startsWith('-') ? -1 : 1) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4, 6)));
}

/** Resolves a clock without a day: the first such time after `afterNs` if it is given, else the last one before now. */
function nearestNs(
  today: Day,
  clock: Clock,
  place: Place,
  rest: bigint,
  nowNs: bigint,
  afterNs: bigint | undefined,
): bigint {
  const days = [before(before(today)), before(today), today, after(today)];
  const times = days.map((day) => nsOf(day, clock, place) + rest);
  if (afterNs !== undefined) return times.find((ns) => ns > afterNs) ?? times.at(-1)!;
  return times.filter((ns) => ns <= nowNs).at(-1) ?? times[0]!;
}

function nsOf({ year, month, date }: Day, { hour, minute, second }: Clock, place: Place): bigint {
  const ms =
    place === undefined
      ? new Date(year, month - 1, date, hour, minute, second).getTime()
      : Date.UTC(year, month - 1, date, hour, minute - place, second);
  return msToNs(ms);
}

function dayOf(ms: number, place: Place): Day {
  const at = new Date(ms - (place === undefined ? new Date(ms).getTimezoneOffset() : -place) * 60_000);
  return { year: at.getUTCFullYear(), month: at.getUTCMonth() + 1, date: at.getUTCDate() };
}

function before(day: Day): Day {
  return shifted(day, -DAY_MS);
}

function after(day: Day): Day {
  return shifted(day, DAY_MS);
}

function shifted({ year, month, date }: Day, ms: number): Day {
  return dayOf(Date.UTC(year, month - 1, date) + ms, 0);
}

function dayExists({ year, month, date }: Day): boolean {
  const at = new Date(Date.UTC(year, month - 1, date));
  return at.getUTCMonth() === month - 1 && at.getUTCDate() === date && year >= 1970;
}

function fractionNs(digits: string | undefined): bigint {
  return BigInt((digits ?? '').padEnd(9, '0'));
}
