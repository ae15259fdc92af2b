/**
 * `bench/compare.sh BASE` runs this with the programs of two checkouts: each benchmark in turn, base, here, here, base,
 * so that what the machine does meanwhile meets both; then the ratios of the medians.
 *
 *   node dist/bench/compare.js BASE_DIST HERE_DIST [BENCHMARK...]
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

interface Benchmark {
  readonly name: string;
  readonly args: readonly string[];
  /** Takes minutes, and differs little from run to run: each side once. */
  readonly once?: boolean;
}

const BENCHMARKS: readonly Benchmark[] = [
  { name: 'latency', args: [] },
  { name: 'light', args: ['10'] },
  { name: 'recording', args: [] },
  { name: 'history', args: ['256'] },
  { name: 'pushdown', args: [] },
  { name: 'segment-log', args: [] },
  { name: 'ceiling', args: ['30'] },
  { name: 'lagging-reader', args: [] },
  { name: 'refill', args: ['1'], once: true },
  { name: 'stall', args: ['1'], once: true },
  { name: 'kills', args: ['broker', '10'] },
];
/** Where a checkout has its benchmarks; in `bench` itself those of before they had folders. */
const FOLDERS = ['bench/scenarios', 'bench/parts', 'bench'];
const ORDER = ['base', 'here', 'here', 'base'] as const;
type Side = (typeof ORDER)[number];

const [base, here, ...only] = process.argv.slice(2);
if (base === undefined || here === undefined) throw new Error('usage: compare.js BASE_DIST HERE_DIST [BENCHMARK...]');
const dists: Readonly<Record<Side, string>> = { base, here };

for (const benchmark of BENCHMARKS) {
  if (only.length > 0 && !only.includes(benchmark.name)) continue;
  const found: Record<Side, Map<string, number[]>> = { base: new Map(), here: new Map() };
  for (const side of benchmark.once ? ORDER.slice(0, 2) : ORDER) {
    for (const [figure, value] of run(dists[side], benchmark)) {
      found[side].set(figure, [...(found[side].get(figure) ?? []), value]);
    }
  }
  const rows = [...found.here].map(([figure, values]) => {
    const before = found.base.get(figure);
    const [was, is] = [before && median(before), median(values)];
    return { figure, base: was, here: is, ratio: was ? Number((is / was).toFixed(3)) : undefined };
  });
  console.log(`\n${benchmark.name} ${benchmark.args.join(' ')}`);
  console.table(rows);
  console.log(JSON.stringify({ compared: benchmark.name, rows }));
}

/** The figures of one run, named by the texts of the row that they stand in; none where it fails or does not exist. */
function run(dist: string, { name, args }: Benchmark): Map<string, number> {
  const figures = new Map<string, number>();
  const program = FOLDERS.map((folder) => join(dist, folder, `${name}.js`)).find(existsSync);
  if (program === undefined) {
    console.error(`${dist} has no ${name}`);
    return figures;
  }
  const options = { encoding: 'utf8', cwd: join(dist, '..') } as const;
  const { stdout, status, stderr } = spawnSync(process.execPath, [program, ...args], options);
  if (status !== 0) console.error(`${name} in ${dist} ended with ${status}: ${stderr.trim().split('\n').at(-1)}`);
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{"bench"')) continue;
    const { bench: _bench, node: _node, rows, ...alone } = JSON.parse(line) as Record<string, unknown>;
    for (const row of [alone, ...((rows as Record<string, unknown>[] | undefined) ?? [])]) collect(row, figures);
  }
  return figures;
}

function collect(row: Readonly<Record<string, unknown>>, into: Map<string, number>): void {
  const entries = Object.entries(row).filter(([key]) => key !== 'target');
  const texts = entries.flatMap(([, value]) => (typeof value === 'string' && value !== '' ? value : []));
  for (const [key, value] of entries) {
    if (typeof value !== 'number') continue;
    const name = [...texts, key].join(': ');
    let unique = name;
    // Rows that differ by numbers only are told apart by their order.
    for (let row = 2; into.has(unique); row++) unique = `${name} (${row})`;
    into.set(unique, value);
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
