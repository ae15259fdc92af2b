/** `observe --follow` as a process that may be killed: what it printed is kept, and it resumes by its last cursor. */
import type { ChildProcess } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ledger } from '../oracle/ledger.js';
import { Received } from '../oracle/received.js';
import { Times } from '../oracle/throttled.js';
import { keepOutput } from './kept-output.js';
import { type Exit, Party } from './party.js';
import type { Relay } from './relay.js';

interface LinePosition {
  readonly epoch: string;
  readonly timeNs: string;
  readonly lane?: number;
  readonly tie?: number;
}

interface Line {
  readonly accepted?: { readonly nodes?: readonly string[]; readonly nodesMissing?: readonly string[] };
  readonly events?: {
    readonly node: string;
    readonly cursor: string;
    readonly refill: boolean;
    readonly history: boolean;
    readonly events: readonly {
      readonly time: string;
      readonly position: LinePosition;
      readonly process?: { readonly pid: number; readonly commandArgs?: readonly string[] };
    }[];
  };
  readonly gap?: {
    readonly node: string;
    readonly topic: string;
    readonly from?: LinePosition;
    readonly to?: LinePosition;
    readonly events: string;
    readonly eventsUnknown: boolean;
    readonly reason: string;
    readonly message?: string;
  };
  readonly coverage?: {
    readonly cursor: string;
    readonly nodes: readonly {
      readonly node: string;
      readonly from?: string;
      readonly to?: string;
      readonly evicted: boolean;
      readonly lost: string;
      readonly lostUnknown: boolean;
      readonly damagedBytes: string;
    }[];
  };
  readonly watermark?: { readonly cursor: string };
}

const RETRY_MS = 300;

export interface Asks {
  /** Flags of `observe`. */
  readonly args: readonly string[];
  /** The same selection for the harness: which nodes, and which of a node's numbers. Default: all. */
  readonly nodes?: (node: string) => boolean;
  readonly numbers?: (number: number) => boolean;
  /** Whether shed events come later. */
  readonly refill?: boolean;
  /** The one reason for which events may be missing; the stated counts must then be exact. */
  readonly misses?: 'shed' | 'skipped';
  /** At most one event of each node in so many milliseconds. */
  readonly throttleMs?: number;
  /** How far back it begins; 1h by default. */
  readonly since?: string;
  /** Whether to keep when each event was, and in which stream it came. */
  readonly timed?: boolean;
}

export class Subscriber extends Party {
  received = new Received();
  ledger = new Ledger();
  times = new Times();
  /** Nodes whose last events came as they happened, not from their recorders. */
  readonly live = new Set<string>();
  cursor = '';
  /** Whether nobody may know what was lost of the log, so that a cursor is refused: then it begins anew, as it is told to. */
  mayBeginAnew = () => false;
  /** How often it did. */
  beganAnew = 0;
  #lines: Interface | undefined;
  #stalled = false;

  constructor(
    name: string,
    readonly relay: Relay,
    tokenFile: string,
    readonly asks: Asks,
  ) {
    super(name, { BACKPLANE_BROKERS: relay.address, BACKPLANE_TOKEN_FILE: tokenFile });
  }

  protected override get args(): readonly string[] {
    const { args, refill, throttleMs, since = '1h' } = this.asks;
    const from = this.cursor === '' ? ['--since', since] : ['--cursor', this.cursor];
    const asked = [...(refill ? ['--refill'] : []), ...(throttleMs ? ['--throttle', `${throttleMs}ms`] : [])];
    return ['observe', '--follow', '-o', 'jsonpb', '--topic', 'process', ...from, ...asked, ...args];
  }

  wants(node: string): boolean {
    return this.asks.nodes?.(node) ?? true;
  }

  wantsNumber(number: number): boolean {
    return this.asks.numbers?.(number) ?? true;
  }

  /** Whether events of the node keep coming. Not if throttled: then a clock that was set back stands still. */
  awaits(node: string): boolean {
    return this.wants(node) && this.asks.throttleMs === undefined;
  }

  /** Stops to read; what it was sent stays in its pipe, in it, or with the broker. */
  stall(): void {
    this.#stalled = true;
    this.#lines?.pause();
    this.child?.stdout?.pause();
  }

  readOn(): void {
    this.#stalled = false;
    this.#lines?.resume();
  }

  protected override listen(child: ChildProcess): void {
    this.ledger.resume();
    const lines = createInterface({ input: child.stdout! });
    this.#lines = lines;
    lines.on('line', (line) => this.#take(line));
    // A line that a kill has cut is not JSON: its events were not received, and the cursor stands before it.
    if (this.#stalled) this.stall();
  }

  /** As a script around it would, it starts `observe` again when no broker answered. */
  protected override died(exit: Exit): void {
    const noAnswer = /no broker|none of .* answers|no secure connection|unavailable|cannot be reached|no answer/i;
    if (exit.code === 1 && noAnswer.test(this.stderr)) {
      void this.#retry();
    } else if (exit.code === 2 && this.mayBeginAnew() && /its machine lost the end of it/.test(this.stderr)) {
      this.#beginAnew();
      void this.#retry();
    } else super.died(exit);
  }

  #beginAnew(): void {
    const { periodNs } = this.received;
    this.cursor = '';
    this.received = new Received();
    this.received.periodNs = periodNs;
    this.ledger = new Ledger();
    this.times = new Times();
    this.beganAnew += 1;
  }

  async #retry(): Promise<void> {
    do await sleep(RETRY_MS);
    while (this.busy);
    if (!this.running) this.start();
  }

  #take(text: string): void {
    keepOutput(`${this.name}.jsonl`, `${text}\n`);
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      return;
    }
    if (line.accepted) this.times.begin();
    else if (line.events) this.#batch(line.events);
    else if (line.gap) this.#gap(line.gap);
    else if (line.coverage) {
      for (const one of line.coverage.nodes) this.#cover(one);
      this.#reach(line.coverage.cursor);
    } else if (line.watermark) this.#reach(line.watermark.cursor);
  }

  #batch({ node, events, refill, history, cursor }: NonNullable<Line['events']>): void {
    this.received.batch(node, events, refill);
    if (history) this.live.delete(node);
    else this.live.add(node);
    if (this.asks.timed) for (const { time, position } of events) this.times.saw(node, Number(position.timeNs), time);
    this.#reach(cursor);
  }

  #gap(gap: NonNullable<Line['gap']>): void {
    const { node, from, to, events, eventsUnknown: unknown, reason, message = '' } = gap;
    if (reason === this.asks.misses && from && to) {
      this.ledger.tell({ node, reason, from: place(from), to: place(to), events: Number(events), unknown });
    } else if (this.asks.refill && this.mayBeginAnew() && /log lost which events they were/.test(message))
      this.received.givenUp(node, this.ledger.toldToNs(node), message);
    else
      this.received.gap({ node, fromNs: from && Number(from.timeNs), toNs: to && Number(to.timeNs), reason, message });
  }

  #cover(one: NonNullable<Line['coverage']>['nodes'][number]): void {
    const { node, evicted, lost, lostUnknown, damagedBytes } = one;
    if (!evicted && lost === '0' && !lostUnknown && damagedBytes === '0') return;
    const reason = `coverage: evicted ${evicted}, lost ${lost} ${lostUnknown}, damaged ${damagedBytes}`;
    const wall = (time: string | undefined) => (time === undefined ? undefined : this.received.bootNs(node, time));
    this.received.gap({ node, fromNs: evicted ? undefined : wall(one.from), toNs: wall(one.to), reason });
  }

  #reach(cursor: string): void {
    if (cursor === '') return;
    this.cursor = cursor;
    this.ledger.settle();
  }
}

function place({ timeNs, lane = 0, tie = 0 }: LinePosition) {
  return [Number(timeNs), lane, tie] as const;
}
