/** Wire timestamps as nanoseconds and as RFC 3339 text with nine digits. */
import type { TimestampFields as Timestamp } from '../wire/messages.js';

/** Nanoseconds since 1970, whatever the node said: not checked, for events come from it unread. */
export function timestampNs(time: Timestamp): bigint {
  return BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanos);
}

/** 9999-12-31, the last day that RFC 3339 can write. */
const SECONDS_MAX = 253_402_300_799;

/** `2026-11-23T10:02:03.123456789Z`; '' for what is no time from 1970 to 9999. */
export function timestampText(time: Timestamp): string {
  const seconds = Number(time.seconds);
  if (!(seconds >= 0 && seconds <= SECONDS_MAX && time.nanos >= 0 && time.nanos < 1e9)) return '';
  return `${new Date(seconds * 1000).toISOString().slice(0, -5)}.${String(time.nanos).padStart(9, '0')}Z`;
}
