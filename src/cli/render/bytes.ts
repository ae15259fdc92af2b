/** Sizes for people: three digits or so, `1.5 MiB`. Not exact: see text/size-text.ts for exact ones. */
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `bytes` as the wire has it: a decimal string, or a number. */
export function compactBytes(bytes: string | number): string {
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
