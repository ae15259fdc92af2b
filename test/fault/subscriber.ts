/** `observe --follow` as a process that may be killed: what it printed is kept, and it resumes by its last cursor. */
import type { ChildProcess } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Exit, Party } from './party.js';
import { Received } from './received.js';
import type { Relay } from './relay.js';

interface Line {
  readonly events?: {
    readonly node: string;
    readonly cursor: string;
    readonly refill: boolean;
    readonly events: readonly {
      readonly time: string;
      readonly position: {
        readonly epoch: string;
        readonly timeNs: string;
        readonly lane?: number;
        readonly tie?: number;
      };
      readonly process?: { readonly commandArgs?: readonly string[] };
    }[];
  };
  readonly gap?: {
    readonly node: string;
    readonly topic: string;
    readonly from?: { readonly timeNs: string };
    readonly to?: { readonly timeNs: string };
    readonly reason: string;
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
  /** Of `observe`. */
  readonly args: readonly string[];
  /** The same of the harness's own: which nodes, and which of a node's numbers. Default: all. */
  readonly nodes?: (node: string) => boolean;
  readonly numbers?: (number: number) => boolean;
  /** What is shed comes later. */
  readonly refill?: boolean;
}

export class Subscriber extends Party {
  readonly received = new Received();
  cursor = '';
  #lines: Interface | undefined;
  #stalled = false;

  constructor(
    name: string,
    readonly relay: Relay,
    readonly asks: Asks,
  ) {
    super(name, { BACKPLANE_BROKERS: relay.address });
  }

  protected override get args(): readonly string[] {
    const from = this.cursor === '' ? ['--since', '1h'] : ['--cursor', this.cursor];
    const refill = this.asks.refill ? ['--refill'] : [];
    return ['observe', '--follow', '-o', 'jsonpb', '--topic', 'process', ...from, ...refill, ...this.asks.args];
  }

  wants(node: string, number = 0): boolean {
    const { nodes, numbers } = this.asks;
    return (nodes === undefined || nodes(node)) && (numbers === undefined || numbers(number));
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
    const lines = createInterface({ input: child.stdout! });
    this.#lines = lines;
    lines.on('line', (line) => this.#take(line));
    // A line that a kill has cut is not JSON: its events were not received, and the cursor stands before it.
    if (this.#stalled) this.stall();
  }

  /** As a script around it would: no broker answers just now, so try again. */
  protected override died(exit: Exit): void {
    if (exit.code === 1 && /no broker|unavailable|cannot be reached|no answer/i.test(this.stderr)) {
      void this.#retry();
    } else super.died(exit);
  }

  async #retry(): Promise<void> {
    do await sleep(RETRY_MS);
    while (this.busy);
    if (!this.running) this.start();
  }

  #take(text: string): void {
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      return;
    }
    if (line.events) {
      const { node, events, refill } = line.events;
      this.received.batch(node, events, refill);
      this.cursor = line.events.cursor || this.cursor;
    } else if (line.gap) {
      const { node, from, to, reason } = line.gap;
      if (this.asks.refill && reason === 'shed') return;
      this.received.gap({ node, fromNs: from && Number(from.timeNs), toNs: to && Number(to.timeNs), reason });
    } else if (line.coverage) {
      for (const one of line.coverage.nodes) {
        const { node, evicted, lost, lostUnknown, damagedBytes } = one;
        if (!evicted && lost === '0' && !lostUnknown && damagedBytes === '0') continue;
        const reason = `coverage: evicted ${evicted}, lost ${lost} ${lostUnknown}, damaged ${damagedBytes}`;
        const wall = (time: string | undefined) => (time === undefined ? undefined : this.received.bootNs(node, time));
        this.received.gap({ node, fromNs: evicted ? undefined : wall(one.from), toNs: wall(one.to), reason });
      }
      this.cursor = line.coverage.cursor || this.cursor;
    } else this.cursor = line.watermark?.cursor || this.cursor;
  }
}
