/** How late events come. */

/** Milliseconds since a time, RFC 3339 with nanoseconds. */
export function delayMs(since: string): number {
  // One clock that has the fraction of a millisecond; Date.now() has not.
  const nowMs = performance.timeOrigin + performance.now();
  const [whole, fraction = ''] = since.replace('Z', '').split('.');
  return nowMs - Date.parse(`${whole}Z`) - Number(`0.${fraction}`) * 1000;
}
