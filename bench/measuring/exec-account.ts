/** Programs as they were started, compared one by one with what is told of them. */

import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX } from '../../src/limits.js';
import { STRINGS_BYTES } from '../../src/sensor-agent/source/probe/probe-layout.js';
import type { EventLine } from '../../test/harness/bus/bus.js';

/** Programs that lived longer must be told whole, if an event can hold their arguments. */
const SHORT_LIFE_MS = 20;
/** Of each kind of what was not told as it was, so many are shown. */
const SHOWN = 4;

export interface Started {
  /** As the kernel hands them to the program. One of them is no other program's that has the same first one. */
  readonly args: readonly string[];
  /** At most, if it is known: from before it was started until it was waited for. */
  readonly livedMs?: number;
}

/** `mark`: what the argument has by which a program is known. */
export function account(mark: string, started: readonly Started[], events: readonly EventLine[]) {
  const told = new Map<string, EventLine['process'][]>();
  for (const { type, process } of events) {
    const key = type === 'process.exec' && keyOf(process?.commandArgs ?? [], mark);
    if (key) told.set(key, [...(told.get(key) ?? []), process]);
  }
  const sums = { same: 0, longer: 0, short: 0, cut: 0, different: 0, missed: 0 };
  for (const one of started) {
    const as = told.get(keyOf(one.args, mark)!) ?? [];
    const verdict = verdictOf(one, as);
    sums[verdict] += 1;
    if (!['cut', 'different', 'missed'].includes(verdict) || sums[verdict] > SHOWN) continue;
    const [given, lengths] = [one.args.slice(0, 4).map((arg) => arg.slice(0, 60)), as.map(lengthOf)];
    console.error(`${verdict}: lived ${one.livedMs} ms, ${lengthOf({ commandArgs: one.args })} bytes`, given, lengths);
  }
  return {
    programs: started.length,
    same: sums.same,
    'cut: beyond 16 KiB': sums.longer,
    [`beyond the copy, ended in ${SHORT_LIFE_MS} ms`]: sums.short,
    'cut otherwise': sums.cut,
    different: sums.different,
    missed: sums.missed,
  };
}

function lengthOf(told: { readonly commandArgs?: readonly string[] } | undefined): number {
  return Buffer.byteLength(told?.commandArgs?.join(' ') ?? '');
}

function keyOf(args: readonly string[], mark: string): string | undefined {
  const found = args.find((arg) => arg.includes(mark));
  return found && `${args[0]} ${found}`;
}

function verdictOf({ args, livedMs }: Started, told: readonly EventLine['process'][]) {
  // What is told twice is told wrongly.
  if (told.length !== 1) return told.length === 0 ? 'missed' : 'different';
  const { commandArgs: as = [], commandArgsTruncated } = told[0]!;
  if (!commandArgsTruncated) return JSON.stringify(as) === JSON.stringify(args) ? 'same' : 'different';
  if (!begins(args, as)) return 'different';
  const bytes = args.reduce((sum, arg) => sum + Buffer.byteLength(arg) + 1, 0);
  if (bytes >= ARGUMENTS_BYTES_MAX || args.length > ARGUMENTS_MAX) return 'longer';
  return bytes > STRINGS_BYTES && livedMs !== undefined && livedMs <= SHORT_LIFE_MS ? 'short' : 'cut';
}

function begins(args: readonly string[], as: readonly string[]): boolean {
  return as.every((arg, at) => arg === args[at] || (at === as.length - 1 && args[at]?.startsWith(arg) === true));
}
