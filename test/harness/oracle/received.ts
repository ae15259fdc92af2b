/**
 * What one subscriber received, compactly: which numbers of which run of which
 * node. A run is one life of an agent, whose events are numbered from 0, n at
 * the run's start plus n periods. Order and duplicates are checked as they come.
 */
import { PID_FIRST } from '../cluster/party.js';

interface ReceivedEvent {
  readonly time: string;
  readonly position: { readonly epoch: string; readonly timeNs: string; readonly lane?: number; readonly tie?: number };
  readonly process?: { readonly pid: number; readonly commandArgs?: readonly string[] };
}

export interface StatedGap {
  /** The node; '': every node. */
  readonly node: string;
  /** By the boot clock; undefined: open. */
  readonly fromNs: number | undefined;
  toNs: number | undefined;
  readonly reason: string;
  readonly message?: string;
}

const FAULTS_KEPT = 20;
const GAPS_KEPT = 10_000;

/** Numbers that were seen, a bit each. */
export class Numbers {
  #bits = new Uint8Array(1024);
  count = 0;
  min = Number.POSITIVE_INFINITY;
  max = -1;

  has(number: number): boolean {
    return ((this.#bits[number >>> 3] ?? 0) & (1 << (number & 7))) !== 0;
  }

  /** False when it was there. */
  add(number: number): boolean {
    if (this.has(number)) return false;
    while (number >>> 3 >= this.#bits.length) {
      const grown = new Uint8Array(this.#bits.length * 2);
      grown.set(this.#bits);
      this.#bits = grown;
    }
    this.#bits[number >>> 3]! |= 1 << (number & 7);
    this.count += 1;
    this.min = Math.min(this.min, number);
    this.max = Math.max(this.max, number);
    return true;
  }
}

interface NodeReceived {
  /** Runs by the time of their event 0. */
  readonly runs: Map<number, Numbers>;
  /** Times of the events that came as refills. */
  readonly refilledNs: Set<number>;
  /** The last position of live events and history, and of refills, which are ordered separately. */
  readonly last: Record<'live' | 'refill', readonly [number, number, number, number] | undefined>;
  firstNs: number;
  lastNs: number;
  wallLessBootMs: number;
}

export class Received {
  readonly nodes = new Map<string, NodeReceived>();
  readonly gaps: StatedGap[] = [];
  /** What stays shed although refills were asked for, as the log lost what says which events they were. */
  readonly notRefilled: StatedGap[] = [];
  /** Events out of order, twice, or with content that does not fit their position. */
  readonly faults: string[] = [];
  events = 0;
  /** Nanoseconds between two numbers, by node. */
  periodNs: (node: string) => number = () => 1;

  batch(name: string, events: readonly ReceivedEvent[], refill: boolean): void {
    let node = this.nodes.get(name);
    if (node === undefined) {
      const last = { live: undefined, refill: undefined };
      node = { runs: new Map(), refilledNs: new Set(), last, firstNs: 0, lastNs: 0, wallLessBootMs: 0 };
      this.nodes.set(name, node);
    }
    if (!refill && events[0]) this.#close(name, Number(events[0].position.timeNs));
    for (const event of events) this.#event(name, node, event, refill ? 'refill' : 'live');
  }

  /**
   * What was owed of the node is not: from behind what was refilled last up to what it has now, or was told not to have.
   */
  givenUp(node: string, toldToNs: number, reason: string): void {
    const { last, lastNs } = this.nodes.get(node) ?? { last: undefined, lastNs: 0 };
    this.notRefilled.push({ node, fromNs: last?.refill?.[1], toNs: Math.max(lastNs, toldToNs), reason });
  }

  gap(gap: StatedGap): void {
    if (this.gaps.length < GAPS_KEPT) this.gaps.push(gap);
  }

  /** A wall time of the node as its boot clock, to the millisecond. */
  bootNs(name: string, time: string): number {
    return (Date.parse(time) - (this.nodes.get(name)?.wallLessBootMs ?? 0)) * 1e6;
  }

  /** A gap that ends where an epoch begins reaches to the first event behind it: the boot clock runs on here. */
  #close(node: string, timeNs: number): void {
    for (const gap of this.gaps) if (gap.node === node && gap.toNs === 0) gap.toNs = timeNs;
  }

  #event(
    name: string,
    node: NodeReceived,
    { time, position, process }: ReceivedEvent,
    kind: keyof NodeReceived['last'],
  ): void {
    const { epoch, timeNs, lane = 0, tie = 0 } = position;
    const now = [Number(epoch), Number(timeNs), lane, tie] as const;
    const last = node.last[kind];
    if (last !== undefined) {
      const differs = now.findIndex((part, at) => part !== last[at]);
      if (differs < 0) this.#fault(`${name}: ${now} comes twice`);
      else if (now[differs]! < last[differs]!) this.#fault(`${name}: ${now} comes after ${last}`);
    }
    node.last[kind] = now;
    this.events += 1;
    if (kind === 'refill') node.refilledNs.add(now[1]);
    node.firstNs ||= now[1];
    node.lastNs = Math.max(node.lastNs, now[1]);
    node.wallLessBootMs = Date.parse(time) - now[1] / 1e6;
    const number = (process?.pid ?? 0) - PID_FIRST;
    const args = process?.commandArgs?.at(-1) ?? '';
    // Arguments that were missed or masked cannot be compared.
    if (args.startsWith('--sequence=') && args !== `--sequence=${number}`)
      this.#fault(`${name}: ${args} is of process ${process?.pid}`);
    const start = now[1] - number * this.periodNs(name);
    let run = node.runs.get(start);
    if (run === undefined) {
      run = new Numbers();
      node.runs.set(start, run);
    }
    if (!run.add(number)) this.#fault(`${name}: number ${number} of the run from ${start} comes twice`);
  }

  #fault(text: string): void {
    if (this.faults.length < FAULTS_KEPT) this.faults.push(text);
  }
}
