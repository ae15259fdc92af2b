/** What the members of a group processed together, held against what a group promises. */
import { sliceOf } from '../../../src/broker/groups/slice.js';
import { Numbers } from '../oracle/received.js';
import type { Line } from './members.js';

type Given = Line & { readonly kind: 'd' };

/** Of one epoch of a slice: its first lines of events, between these times at some moment. Milliseconds since 1970. */
interface Commit {
  readonly epoch: number;
  readonly lines: number;
  readonly askedMs: number;
  readonly ms: number;
}

/** One epoch of one slice, as its member has it. */
interface Epoch {
  readonly member: string;
  readonly epoch: number;
  readonly ms: number;
  /** Its lines of events, in order. */
  readonly given: Given[];
  readonly commits: Commit[];
}

/**
 * A power cut of servers that do not sync all the time: what was committed between two times may be gone, and is given again
 * after the cut. Milliseconds since 1970.
 */
export interface TakenBack {
  readonly fromMs: number;
  readonly cutMs: number;
  /** While a server has other messages than the rest it may come to lead, and then what they have is gone. */
  toMs: number;
}

export interface Member {
  readonly name: string;
  readonly lines: readonly Line[];
}

const SHOWN_MAX = 10;

export interface Findings {
  readonly violations: readonly string[];
  readonly processed: number;
  /** Events that were processed more than once: none of them was committed before, but for those of `takenBack`. */
  readonly again: number;
  readonly committed: number;
  /** Events that were processed again after a power cut, and had been committed shortly before it. */
  readonly takenBack: number;
  /** Gaps that members were told as a power cut took what says where a slice stood. Events may not be missing even so. */
  readonly placesLost: number;
}

/** What was done to what is stored. */
export interface Losses {
  readonly cuts?: readonly TakenBack[];
  /** Bits were flipped in what is stored: then events may be missing where a gap of their node was told. */
  readonly damaged?: boolean;
}

/**
 * Every number of each node from 0 to `upTo` was processed; of a slice nothing comes in a later epoch that an earlier one
 * has committed, unless a power cut took the commit back; an epoch has one member, and each node's numbers in order; all
 * of a node is in its slice; epochs never fall, also after a power cut.
 * @param upTo by node, the last number that must be there
 */
export function findings(
  members: readonly Member[],
  slices: number,
  upTo: ReadonlyMap<string, number>,
  { cuts = [], damaged = false }: Losses = {},
): Findings {
  const violations: string[] = [];
  const gaps: string[] = [];
  const found = (text: string) => violations.length < SHOWN_MAX && violations.push(text);
  const epochs = epochsOf(members, found, (text) => gaps.push(text));
  const processed = new Map<string, Numbers>();
  let [sum, again, committed, takenBack] = [0, 0, 0, 0];
  const isCut = cuts.length > 0 && !damaged;
  for (const [slice, own] of epochs) {
    const inOrder = [...own.values()].sort((a, b) => a.epoch - b.epoch);
    const commits = new Commits(cuts);
    for (const epoch of inOrder) {
      const reached = new Map<string, number>();
      for (const { node, number, ms, where } of eventsOf(epoch, slice, slices, found)) {
        const known = commits.of(node, number);
        if (known !== undefined && ms < known.untilMs)
          found(`${where} at ${ms} was committed before, in epoch ${known.epoch} at ${known.ms}`);
        else if (known !== undefined) takenBack++;
        // What a cut took back is given again, whoever processed it before.
        const before = reached.get(node) ?? number;
        if (isCut && number > before + 1) found(`${where} came after ${before}: what is between was left out`);
        reached.set(node, number);
        sum++;
        if (!numbersOf(processed, node).add(number)) again++;
      }
      commits.add(epoch);
    }
    committed += commits.count;
    for (const text of fallen(inOrder)) found(`slice ${slice}: ${text}`);
  }
  for (const [node, to] of upTo) {
    const own = numbersOf(processed, node);
    const missing = Array.from({ length: to + 1 }, (_, number) => number).filter((number) => !own.has(number));
    const isStated = damaged && gaps.some((text) => text.split(' ').includes(node));
    if (missing.length > 0 && !isStated)
      found(`${node} lacks ${missing.length} of ${to + 1}: ${missing.slice(0, 5).join(', ')} ...`);
  }
  // The cut took the place of a slice in the log and what was written down of it: nobody knows whether something is missing.
  const isUnknown = (gap: string) => cuts.length > 0 && gap.includes(': expired ');
  const wrongGaps = damaged ? [] : gaps.filter((gap) => !isUnknown(gap)).slice(0, SHOWN_MAX);
  const placesLost = gaps.filter(isUnknown).length;
  return { violations: [...violations, ...wrongGaps], processed: sum, again, committed, takenBack, placesLost };
}

/** A commit of an event. */
interface Kept {
  /** From when on the event may come again, milliseconds since 1970; Infinity: never. */
  readonly untilMs: number;
  readonly epoch: number;
  readonly ms: number;
}

/** Of one slice: which events were committed, and whether they may come again. */
class Commits {
  readonly #cuts: readonly TakenBack[];
  /** By node and number. */
  readonly #nodes = new Map<string, Map<number, Kept>>();

  constructor(cuts: readonly TakenBack[]) {
    this.#cuts = cuts;
  }

  get count(): number {
    return [...this.#nodes.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Undefined: it was not committed. */
  of(node: string, number: number): Kept | undefined {
    return this.#nodes.get(node)?.get(number);
  }

  add({ epoch, given, commits }: Epoch): void {
    const byLine: (Kept | undefined)[] = given.map(() => undefined);
    for (const { lines, askedMs, ms } of commits) {
      // Any moment between the two may be that of the commit.
      const cut = this.#cuts.find(({ fromMs, toMs }) => askedMs <= toMs && ms >= fromMs);
      const kept = { untilMs: cut?.cutMs ?? Number.POSITIVE_INFINITY, epoch, ms };
      if (lines > 0) byLine[lines - 1] = longer(kept, byLine[lines - 1]);
    }
    let latest: Kept | undefined;
    for (const [at, { node, numbers }] of [...given.entries()].reverse()) {
      latest = longer(latest, byLine[at]);
      if (latest === undefined) continue;
      const own = this.#nodes.get(node) ?? new Map<number, Kept>();
      this.#nodes.set(node, own);
      for (const number of numbers) if (number >= 0) own.set(number, longer(latest, own.get(number))!);
    }
  }
}

function longer(one: Kept | undefined, other: Kept | undefined): Kept | undefined {
  return (other?.untilMs ?? -1) >= (one?.untilMs ?? -1) ? other : one;
}

interface GivenEvent {
  readonly node: string;
  readonly number: number;
  readonly ms: number;
  readonly where: string;
}

/** What it was given, in order. */
function* eventsOf(
  { epoch, member, given }: Epoch,
  slice: number,
  slices: number,
  found: (text: string) => unknown,
): Generator<GivenEvent> {
  const last = new Map<string, number>();
  for (const { node, numbers, ms } of given) {
    if (sliceOf(node, slices) !== slice) found(`${node} came in slice ${slice}`);
    for (const number of numbers) {
      // Its content was not that of a numbered event.
      if (number < 0) {
        found(`an event of ${node} in epoch ${epoch} of slice ${slice} is none that was recorded`);
        continue;
      }
      const where = `${node}:${number} in epoch ${epoch} of slice ${slice} (member ${member})`;
      const before = last.get(node);
      if (before !== undefined && number <= before) found(`${where} came after ${before}`);
      last.set(node, number);
      yield { node, number, ms, where };
    }
  }
}

/** An epoch that was committed in is the slice's: nobody may have had a later one before that was asked for. */
function* fallen(epochs: readonly Epoch[]): Generator<string> {
  const commits = epochs.flatMap((epoch) => epoch.commits);
  const known = [...epochs, ...commits].sort((a, b) => a.ms - b.ms);
  let [at, latest] = [0, 0];
  for (const { epoch, askedMs } of commits.sort((a, b) => a.askedMs - b.askedMs)) {
    for (; at < known.length && known[at]!.ms < askedMs; at++) latest = Math.max(latest, known[at]!.epoch);
    if (epoch < latest) yield `epoch ${epoch} was committed in after there was epoch ${latest}`;
  }
}

function epochsOf(
  members: readonly Member[],
  found: (text: string) => unknown,
  foundGap: (text: string) => unknown,
): Map<number, Map<number, Epoch>> {
  const epochs = new Map<number, Map<number, Epoch>>();
  for (const { name: member, lines } of members) {
    for (const line of lines) {
      if (line.kind === 'a') {
        const { slice, epoch, ms } = line;
        const own = epochs.get(slice) ?? new Map<number, Epoch>();
        epochs.set(slice, own);
        const other = own.get(epoch);
        if (other) found(`epoch ${epoch} of slice ${slice} was given to ${other.member} and to ${member}`);
        own.set(epoch, { member, epoch, ms, given: [], commits: [] });
      } else if (line.kind === 'd') epochs.get(line.slice)?.get(line.epoch)?.given.push(line);
      else if (line.kind === 'c') {
        const { askedMs, ms } = line;
        for (const [slice, epoch, lines] of line.slices)
          epochs.get(slice)?.get(epoch)?.commits.push({ epoch, lines, askedMs, ms });
      } else if (line.kind === 'g') foundGap(`member ${member} was told a gap: ${line.text}`);
    }
  }
  return epochs;
}

function numbersOf(numbers: Map<string, Numbers>, node: string): Numbers {
  let own = numbers.get(node);
  if (own === undefined) {
    own = new Numbers();
    numbers.set(node, own);
  }
  return own;
}
