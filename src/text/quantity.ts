/**
 * Sizes and durations as people write them: `512MiB`, `24h`, `1h30m`.
 *
 *   Size     := digits unit?      unit := B | KiB | MiB | GiB | TiB (K, M, G, T mean the same)
 *   Duration := (digits unit)+    unit := ms | s | m | h | d
 */
const SIZES: readonly (readonly [string, number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
];
const DURATIONS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** Bytes, or undefined when the text is not a size. */
export function parseBytes(text: string): number | undefined {
  const [, digits = '', unit = ''] = /^(\d{1,16}) ?([A-Za-z]{0,3})$/.exec(text.trim()) ?? [];
  if (digits === '') return undefined;
  const factor = unit === '' || unit === 'B' ? 1 : SIZES.find(([name]) => name === unit || name[0] === unit)?.[1];
  const value = factor === undefined ? undefined : Number(digits) * factor;
  return value !== undefined && Number.isSafeInteger(value) ? value : undefined;
}

/** The shortest exact form. */
export function bytesText(bytes: number): string {
  const [unit, factor] = SIZES.find(([, size]) => bytes >= size && bytes % size === 0) ?? ['', 1];
  return `${bytes / factor}${unit}`;
}

/** Milliseconds, or undefined when the text is not a duration. */
export function parseDurationMs(text: string): number | undefined {
  if (!/^(\d{1,12}(ms|s|m|h|d))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, digits, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g)) {
    sum += Number(digits) * (DURATIONS.find(([name]) => name === unit)?.[1] ?? 0);
  }
  return Number.isSafeInteger(sum) ? sum : undefined;
}

/** The exact form, largest units first: `1h30m`. */
export function durationText(ms: number): string {
  if (ms === 0) return '0s';
  // A whole number of days up to two reads better in hours.
  const units = ms < 2 * 86_400_000 ? DURATIONS.slice(1) : DURATIONS;
  let rest = ms;
  let text = '';
  for (const [unit, factor] of units) {
    const count = Math.floor(rest / factor);
    rest -= count * factor;
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}
