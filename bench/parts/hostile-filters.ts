/**
 * How long a broker takes to refuse filters that were made to cost it: each once, as the first of its kind, in a process
 * that has just started.
 *
 *   node dist/bench/parts/hostile-filters.js
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { report, round } from '../measuring/report.js';

const pattern = (text: string) => `process.comm.matches(${JSON.stringify(text)})`;
const HOSTILE: Readonly<Record<string, string>> = {
  'nested repetition': pattern(`${'('.repeat(20)}a${'{1,40})'.repeat(20)}`),
  'counted repetition': pattern('(x{1,1000}){1,1000}'),
  'many alternatives': pattern(Array.from({ length: 800 }, (_, i) => `a${i}`).join('|')),
  'classes repeated': pattern('[\\p{L}\\p{N}]{900}'.repeat(4)),
  'evil plus': pattern('(a+)+'.repeat(700)),
  'look-behind': pattern(`(?<=${'a'.repeat(3000)})b`),
  'deep brackets': `${'('.repeat(2000)}true${')'.repeat(2000)}`,
  'deep negation': `${'!'.repeat(4000)}true`,
  'negations in a row': `${'!'.repeat(1022)}true`,
  'a long sum': `${'1+'.repeat(500)}1==1`,
  'many choices': `[${'true?1:1,'.repeat(150)}].size()==1`,
  'deep lists': `process.pid in ${'['.repeat(1500)}1${']'.repeat(1500)}`,
  'deep ternaries': `${'true ? true : '.repeat(250)}true`,
  'too long': 'process.pid == 1 || '.repeat(5000),
  'many terms': `${'process.pid == 1 || '.repeat(200)}false`,
  comprehensions: `${'process.command_args.exists(a, '.repeat(60)}true${')'.repeat(60)}`,
  'comprehension bomb': `process.command_args.all(a, process.command_args.all(b, process.command_args.all(c, a == b && b == c)))`,
  'invalid UTF-8': 'process.comm == "\ud800"',
  'prototype names': '__proto__.constructor.prototype == "x"',
  'long number': `process.pid == ${'9'.repeat(4000)}`,
  'long name': `${'a.'.repeat(2000)}b == 1`,
  'unclosed text': `process.comm == "${'\\\\'.repeat(2000)}`,
  'nearest name': `${'processexecutablepath'.repeat(190)} == 1`,
};

if (process.argv[2] === undefined) {
  const run = () =>
    JSON.parse(execFileSync(process.execPath, [fileURLToPath(import.meta.url), 'one'], { encoding: 'utf8' })) as Record<
      string,
      number
    >;
  const rounds = Array.from({ length: 5 }, run);
  const median = (values: number[]) => round(values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!, 2);
  const rows = Object.keys(HOSTILE).map((what) => ({ what, ms: median(rounds.map((times) => times[what] ?? 0)) }));
  report('refusing hostile filters', rows, {});
} else {
  const times: Record<string, number> = {};
  const time = (what: string, act: () => void) => {
    const startMs = performance.now();
    act();
    times[what] = performance.now() - startMs;
  };
  for (const [what, filter] of Object.entries(HOSTILE)) {
    time(what, () => {
      try {
        compilePredicate({ topics: [], filter, includeSelf: false });
        times[`${what} (accepted)`] = 1;
      } catch {
        // Refused, as it should be.
      }
    });
  }
  process.stdout.write(JSON.stringify(times));
}
