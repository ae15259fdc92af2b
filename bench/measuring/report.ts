/** What every bench prints: a table for people, then one line of JSON. */
export interface Row {
  readonly [column: string]: string | number;
}

export function report(name: string, rows: readonly Row[], facts: Record<string, unknown> = {}): void {
  console.log(`\n${name}`);
  console.table(rows);
  console.log(JSON.stringify({ bench: name, node: process.version, ...facts, rows }));
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
