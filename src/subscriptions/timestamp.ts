/** Wire timestamps as nanoseconds and as RFC 3339 text with nine digits. */
import { timestampToJson } from '../wire/event/event-json.js';
import type { TimestampFields as Timestamp } from '../wire/messages.js';

/**
 * Nanoseconds since 1970, as the node stated them: not checked, because the broker passes events on without reading
 * them.
 */
export function timestampNs(time: Timestamp): bigint {
  return BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanos);
}

/** `2026-11-23T10:02:03.123456789Z`; '' for a time outside 1970 to 9999. */
export function timestampText(time: Timestamp): string {
  return timestampToJson(time) ?? '';
}
