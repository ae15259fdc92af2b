/**
 * Durations and times as people write them.
 *
 *   duration  := '-'? (digits ('.' digits)? unit)+ | '0'
 *   unit      := 'd' | 'h' | 'm' | 's' | 'ms' | 'us' | 'ns'
 *   timestamp := RFC 3339, up to nine digits of fraction, 'Z' or an offset
 */
import { msToNs, nsToMs } from '../nanoseconds.js';

const UNIT_NS: Readonly<Record<string, bigint>> = {
  d: 86_400_000_000_000n,
  h: 3_600_000_000_000n,
  m: 60_000_000_000n,
  s: 1_000_000_000n,
  ms: 1_000_000n,
  us: 1_000n,
  ns: 1n,
};
const SECOND_NS = 1_000_000_000n;
/** Longer text is neither a duration nor a time. */
const TEXT_CHARACTERS_MAX = 64;
const DURATION = /^-?(?:[0-9]+(?:\.[0-9]+)?(?:d|h|ms|us|ns|m|s))+$/;
const TIMESTAMP =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})$/;

/** CEL's ranges: years 1 to 9999, and durations whose nanoseconds fit 64 bits with a sign (292 years). */
export const TIMESTAMP_NS_MIN = -62_135_596_800n * SECOND_NS;
export const TIMESTAMP_NS_MAX = 253_402_300_800n * SECOND_NS - 1n;
export const DURATION_NS_MIN = -(2n ** 63n);
export const DURATION_NS_MAX = 2n ** 63n - 1n;

/** Nanoseconds, or undefined for what is not a duration. */
export function parseDuration(text: string): bigint | undefined {
  if (text.length > TEXT_CHARACTERS_MAX) return undefined;
  if (text === '0') return 0n;
  if (!DURATION.test(text)) return undefined;
  let total = 0n;
  for (const [, whole, fraction = '', unit] of text.matchAll(/([0-9]+)(?:\.([0-9]+))?(d|h|ms|us|ns|m|s)/g)) {
    const unitNs = UNIT_NS[unit!]!;
    total += BigInt(whole!) * unitNs + (BigInt(fraction || '0') * unitNs) / 10n ** BigInt(fraction.length);
  }
  if (total > DURATION_NS_MAX) return undefined;
  return text.startsWith('-') ? -total : total;
}

/** Whole milliseconds, or undefined for text that is not such a duration. */
export function parseDurationMs(text: string): number | undefined {
  const ns = parseDuration(text);
  return ns === undefined || ns % UNIT_NS.ms! !== 0n ? undefined : nsToMs(ns);
}

/** Nanoseconds since 1970, or undefined for what is not an RFC 3339 time. */
export function parseTimestamp(text: string): bigint | undefined {
  const parts = TIMESTAMP.exec(text);
  if (!parts) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const offsetSeconds = zoneSeconds(parts[8]!);
  if (offsetSeconds === undefined) return undefined;
  const seconds = date.getTime() / 1000 + hour * 3600 + minute * 60 + second - offsetSeconds;
  const ns = BigInt(seconds) * SECOND_NS + BigInt((parts[7] ?? '').padEnd(9, '0'));
  return ns < TIMESTAMP_NS_MIN || ns > TIMESTAMP_NS_MAX ? undefined : ns;
}

function zoneSeconds(zone: string): number | undefined {
  if (zone === 'Z' || zone === 'z') return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(4, 6));
  if (hours > 23 || minutes > 59) return undefined;
  return (zone[0] === '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

/** In units that CEL knows, largest first: `1h30m`, `300ms`, `-5s`, `0s`. Parses to the same again. */
export function durationText(ns: bigint): string {
  return textIn(['h', 'm', 's', 'ms', 'us', 'ns'], ns);
}

/** For settings, where a week is `7d`. Up to two days read better in hours. */
export function durationMsText(ms: number): string {
  const ns = msToNs(ms);
  return ns < 2n * UNIT_NS.d! ? durationText(ns) : textIn(['d', 'h', 'm', 's', 'ms'], ns);
}

function textIn(units: readonly string[], ns: bigint): string {
  if (ns === 0n) return '0s';
  let rest = ns < 0n ? -ns : ns;
  let text = ns < 0n ? '-' : '';
  for (const unit of units) {
    const unitNs = UNIT_NS[unit]!;
    if (rest >= unitNs) text += `${rest / unitNs}${unit}`;
    rest %= unitNs;
  }
  return text;
}

/** RFC 3339 in UTC with as many digits of fraction as needed. For times that parseTimestamp can give. */
export function timestampNsText(ns: bigint): string {
  const fraction = ((ns % SECOND_NS) + SECOND_NS) % SECOND_NS;
  const date = new Date(nsToMs(ns - fraction));
  const digits = fraction === 0n ? '' : `.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
  return `${date.toISOString().slice(0, -5)}${digits}Z`;
}
