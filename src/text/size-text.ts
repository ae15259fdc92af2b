/**
 * Sizes as people write them: `512MiB`.
 *
 *   size := digits unit?      unit := B | KiB | MiB | GiB | TiB (K, M, G, T mean the same)
 */
const SIZES: readonly (readonly [string, number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
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
