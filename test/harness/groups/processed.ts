/** What the members of a group processed together, held against what a group promises. */
import { sliceOf } from '../../../src/broker/groups/slice.js';
import { Numbers } from '../oracle/received.js';
import type { Line } from './members.js';

/** One epoch of one slice, as its member has it. */
interface Epoch {
  readonly member: string;
  readonly epoch: number;
  /** Its lines of events, in order. */
  readonly given: (Line & { readonly kind: 'd' })[];
  /** How many of these lines are committed. */
  committed: number;
}

const SHOWN_MAX = 10;

export interface Findings {
  readonly violations: readonly string[];
  readonly processed: number;
  /** Events that were processed more than once: none of them was committed before. */
  readonly again: number;
  readonly committed: number;
}

/**
 * Every number of each node from 0 to `upTo` was processed; of a slice nothing comes in a later epoch that an earlier one
 * has committed; an epoch has one member, and each node's numbers in order; all of a node is in its slice.
 * @param upTo by node, the last number that must be there
 */
export function findings(
  members: readonly { readonly name: string; readonly lines: readonly Line[] }[],
  slices: number,
  upTo: ReadonlyMap<string, number>,
): Findings {
  const violations: string[] = [];
  const gaps: string[] = [];
  const found = (text: string) => violations.length < SHOWN_MAX && violations.push(text);
  const epochs = epochsOf(members, found, (text) => gaps.length < SHOWN_MAX && gaps.push(text));
  const processed = new Map<string, Numbers>();
  let [sum, again, committedSum] = [0, 0, 0];
  for (const [slice, own] of epochs) {
    const committed = new Map<string, Numbers>();
    for (const { epoch, member, given, committed: lines } of [...own.values()].sort((a, b) => a.epoch - b.epoch)) {
      const last = new Map<string, number>();
      for (const { node, numbers } of given) {
        if (sliceOf(node, slices) !== slice) found(`${node} came in slice ${slice}`);
        for (const number of numbers) {
          // Its content was not that of a numbered event.
          if (number < 0) {
            found(`an event of ${node} in epoch ${epoch} of slice ${slice} is none that was recorded`);
            continue;
          }
          const where = `${node}:${number} in epoch ${epoch} of slice ${slice} (member ${member})`;
          if (number <= (last.get(node) ?? -1)) found(`${where} came after ${last.get(node)}`);
          last.set(node, number);
          if (of(committed, node).has(number)) found(`${where} was committed before`);
          sum++;
          if (!of(processed, node).add(number)) again++;
        }
      }
      for (const { node, numbers } of given.slice(0, lines)) {
        for (const number of numbers) if (number >= 0 && of(committed, node).add(number)) committedSum++;
      }
    }
  }
  for (const [node, to] of upTo) {
    const own = of(processed, node);
    const missing = Array.from({ length: to + 1 }, (_, number) => number).filter((number) => !own.has(number));
    if (missing.length > 0)
      found(`${node} lacks ${missing.length} of ${to + 1}: ${missing.slice(0, 5).join(', ')} ...`);
  }
  return { violations: [...violations, ...gaps], processed: sum, again, committed: committedSum };
}

function epochsOf(
  members: readonly { readonly name: string; readonly lines: readonly Line[] }[],
  found: (text: string) => void,
  foundGap: (text: string) => void,
): Map<number, Map<number, Epoch>> {
  const epochs = new Map<number, Map<number, Epoch>>();
  for (const { name: member, lines } of members) {
    for (const line of lines) {
      if (line.kind === 'a') {
        const { slice, epoch } = line;
        const own = epochs.get(slice) ?? new Map<number, Epoch>();
        epochs.set(slice, own);
        const other = own.get(epoch);
        if (other) found(`epoch ${epoch} of slice ${slice} was given to ${other.member} and to ${member}`);
        own.set(epoch, { member, epoch, given: [], committed: 0 });
      } else if (line.kind === 'd') epochs.get(line.slice)?.get(line.epoch)?.given.push(line);
      else if (line.kind === 'c') {
        for (const [slice, epoch, count] of line.slices) {
          const own = epochs.get(slice)?.get(epoch);
          if (own) own.committed = Math.max(own.committed, count);
        }
      } else if (line.kind === 'g') foundGap(`member ${member} was told a gap: ${line.text}`);
    }
  }
  return epochs;
}

function of(numbers: Map<string, Numbers>, node: string): Numbers {
  let own = numbers.get(node);
  if (own === undefined) {
    own = new Numbers();
    numbers.set(node, own);
  }
  return own;
}
