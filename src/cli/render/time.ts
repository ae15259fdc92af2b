/** Times for people: local time, to the microsecond, with the date where it is not today's. */

/** Wall nanoseconds as `10:02:03.123456`, or `2026-11-22 23:59:59.999999` when not on the day of `todayMs`. */
export function clockText(wallNs: bigint, todayMs: number): string {
  const at = dateOf(wallNs);
  if (Number.isNaN(at.getTime())) return '(no such time)';
  const time = `${timeText(wallNs)}.${String((wallNs / 1000n) % 1_000_000n).padStart(6, '0')}`;
  return dayText(at) === dayText(new Date(todayMs)) ? time : `${dayText(at)} ${time}`;
}

/** `10:02:03`. */
export function timeText(wallNs: bigint): string {
  const at = dateOf(wallNs);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** `2026-11-23 10:02:03`. */
export function dateTimeText(wallNs: bigint): string {
  return `${dayText(dateOf(wallNs))} ${timeText(wallNs)}`;
}

/** Invalid outside the years that a Date knows. */
function dateOf(wallNs: bigint): Date {
  return new Date(Number(wallNs / 1_000_000n));
}

function dayText(at: Date): string {
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, '0')}-${String(at.getDate()).padStart(2, '0')}`;
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
