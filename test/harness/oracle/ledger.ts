/**
 * The account of one subscriber: what it was told that it does not get. Gaps
 * count like events, with the cursor that follows them: who resumes before it
 * is told them again. After a run every stretch must say exactly how many of the
 * recorded events did not come live.
 */
import { LANES } from '../cluster/party.js';
import type { Subscriber } from '../cluster/subscriber.js';
import type { Recorded } from './recorded.js';

/** Boot clock nanoseconds, lane, tie: an epoch later is later by the clock as well. */
type Place = readonly [timeNs: number, lane: number, tie: number];

export interface ToldGap {
  readonly node: string;
  readonly reason: 'shed' | 'skipped';
  /** The stretch is (from, to]. */
  readonly from: Place;
  readonly to: Place;
  readonly events: number;
  readonly unknown: boolean;
}

const SHOWN = 5;

export class Ledger {
  /** The account up to the last cursor. */
  readonly told: ToldGap[] = [];
  #behind: ToldGap[] = [];

  tell(gap: ToldGap): void {
    this.#behind.push(gap);
  }

  /** A cursor arrived, so the subscriber will resume behind everything before it. */
  settle(): void {
    this.told.push(...this.#behind);
    this.#behind = [];
  }

  /** The subscriber starts again at its last cursor. */
  resume(): void {
    this.#behind = [];
  }

  /** Boot clock up to which it was told what it does not get of a node. */
  toldToNs(name: string): number {
    return Math.max(0, ...[...this.told, ...this.#behind].flatMap(({ node, to }) => (node === name ? [to[0]] : [])));
  }

  sum(reason: ToldGap['reason']): number {
    return this.told.reduce((sum, gap) => sum + (gap.reason === reason ? gap.events : 0), 0);
  }
}

/**
 * Stretches of a node whose stated gaps differ from the recorded events that the subscriber did not get.
 * @param ends what the log lost of its end, by the boot clock. Nodes send it again in other frames: of one that a
 *   subscriber had in part nobody knows how many of the events that it leaves out are behind that
 */
export function unaccounted(
  subscriber: Subscriber,
  recorded: Recorded,
  node: string,
  periodNs: number,
  ends: readonly { readonly fromNs: number; readonly toNs: number }[] = [],
): string[] {
  const { name, ledger, received } = subscriber;
  const gaps = ledger.told.filter((gap) => gap.node === node).sort((a, b) => compare(a.from, b.from));
  const last: Place = [received.nodes.get(node)?.lastNs ?? 0, LANES, 0];
  const end = gaps.reduce((most, { to }) => (compare(to, most) > 0 ? to : most), last);
  const missing = notLive(subscriber, recorded, node, periodNs).filter((place) => compare(place, end) <= 0);
  const found: string[] = [];
  let at = 0;
  let reached: Place = [0, 0, 0];
  let untold = 0;
  for (const gap of gaps) {
    const { from, to, events, unknown } = gap;
    if (compare(from, reached) < 0) found.push(`is told of a stretch twice: ${JSON.stringify(gap)}, ${reached}`);
    reached = to;
    for (; at < missing.length && compare(missing[at]!, from) <= 0; at += 1) untold += 1;
    let count = 0;
    for (; at < missing.length && compare(missing[at]!, to) <= 0; at += 1) count += 1;
    const isAgain = ends.some(({ fromNs, toNs }) => from[0] <= toNs && to[0] >= fromNs);
    if (unknown && isAgain) continue;
    if (unknown) found.push(`is not told how many of ${count}: ${JSON.stringify(gap)}`);
    else if (count !== events) found.push(`did not get ${count} events: ${JSON.stringify(gap)}`);
  }
  untold += missing.length - at;
  if (untold > 0) found.push(`was not told of ${untold} events`);
  return found.slice(0, SHOWN).map((fault) => `${name} of ${node} ${fault}`);
}

/** Places of recorded events that the subscriber asked for and did not receive but as refills, ascending. */
function notLive(subscriber: Subscriber, recorded: Recorded, node: string, periodNs: number): Place[] {
  const had = subscriber.received.nodes.get(node);
  const missing: Place[] = [];
  for (const [start, lanes] of recorded.runs(node)) {
    const numbers = had?.runs.get(start);
    for (const [lane, last] of lanes.entries()) {
      for (let number = lane; number <= last; number += LANES) {
        const timeNs = start + number * periodNs;
        const live = numbers?.has(number) && !had?.refilledNs.has(timeNs);
        if (subscriber.wantsNumber(number) && !live) missing.push([timeNs, lane, 0]);
      }
    }
  }
  return missing.sort(compare);
}

function compare(a: Place, b: Place): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
