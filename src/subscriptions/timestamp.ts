/** Wire timestamps as nanoseconds and as RFC 3339 text with nine digits. */
import type { TimestampFields as Timestamp } from '../wire/messages.js';

/** Nanoseconds since 1970. */
export function timestampNs(time: Timestamp): bigint {
  return BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanos);
}

/** `2026-11-23T10:02:03.123456789Z`. */
export function timestampText(time: Timestamp): string {
  const seconds = new Date(Number(time.seconds) * 1000).toISOString().slice(0, -5);
  return `${seconds}.${String(time.nanos).padStart(9, '0')}Z`;
}
