/** Times for people: local time or UTC, to the microsecond, with date and zone where the day begins. */
import { nsToMs } from '../../nanoseconds.js';

export const TIME_FORMATS = ['clock', 'date', 'rfc3339', 'unix'] as const;
/** `clock`: date and zone only where they change. `date`: on every line. */
export type TimeFormat = (typeof TIME_FORMATS)[number];

export interface TimeStyle {
  readonly format: TimeFormat;
  /** UTC rather than this machine's own zone. */
  readonly utc: boolean;
}

export const CLOCK: TimeStyle = { format: 'clock', utc: false };

/** A time in its parts, as its zone has them. */
interface Parts {
  /** `2026-11-23`. */
  readonly day: string;
  /** `10:02:03`. */
  readonly time: string;
  /** `+01:00`, or `Z` where it is UTC that was asked for. */
  readonly zone: string;
}

/** Formats the times of a stream of events in order: date and zone are left out while they stay the same. */
export class EventTimes {
  readonly #style: TimeStyle;
  #day = '';

  constructor(style: TimeStyle) {
    this.#style = style;
  }

  /** `10:02:03.123456`; the first of a day as `2026-11-23 10:02:03.123456+01:00`. */
  text(wallNs: bigint): string {
    const { format, utc } = this.#style;
    if (format === 'unix') return unixText(wallNs);
    const parts = partsOf(wallNs, utc);
    if (parts === undefined) return '(no such time)';
    const { day, time, zone } = parts;
    if (format === 'rfc3339') return `${day}T${time}.${fraction(wallNs, 9)}${zone}`;
    const clock = `${time}.${fraction(wallNs, 6)}`;
    const known = this.#day === day + zone;
    this.#day = day + zone;
    return format === 'clock' && known ? clock : `${day} ${clock}${zone}`;
  }
}

/** `10:02:03`. */
export function timeText(wallNs: bigint, utc = false): string {
  return partsOf(wallNs, utc)?.time ?? '(no such time)';
}

/** `2026-11-23 10:02:03`. */
export function dateTimeText(wallNs: bigint, utc = false): string {
  const parts = partsOf(wallNs, utc);
  return parts === undefined ? '(no such time)' : `${parts.day} ${parts.time}`;
}

/** Undefined outside the years that a Date knows. */
function partsOf(wallNs: bigint, utc: boolean): Parts | undefined {
  const at = new Date(nsToMs(wallNs));
  if (Number.isNaN(at.getTime())) return undefined;
  // A Date prints UTC only, so the local time is printed as the UTC time of a shifted moment.
  const aheadMinutes = utc ? 0 : -at.getTimezoneOffset();
  const [day = '', time = ''] = new Date(at.getTime() + aheadMinutes * 60_000).toISOString().split('T');
  return { day, time: time.slice(0, 8), zone: utc ? 'Z' : zoneText(aheadMinutes) };
}

function zoneText(aheadMinutes: number): string {
  const minutes = Math.abs(aheadMinutes);
  const digits = [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0'));
  return `${aheadMinutes < 0 ? '-' : '+'}${digits.join(':')}`;
}

function fraction(wallNs: bigint, digits: number): string {
  return String(wallNs % 1_000_000_000n)
    .padStart(9, '0')
    .slice(0, digits);
}

function unixText(wallNs: bigint): string {
  return `${wallNs / 1_000_000_000n}.${fraction(wallNs, 9)}`;
}

/** How long ago, in its two largest units: `3h 12m`. */
export function agoText(fromNs: bigint, nowNs: bigint): string {
  let seconds = Number((nowNs - fromNs) / 1_000_000_000n);
  if (seconds < 0) seconds = 0;
  const [d, h, m, s] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ];
  if (d > 0) return `${d}d ${h}h`;
  if (h > 0) return `${h}h ${m}m`;
  return m > 0 ? `${m}m ${s}s` : `${s}s`;
}
