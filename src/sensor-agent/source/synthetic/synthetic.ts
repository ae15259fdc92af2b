/**
 * Made-up events at a steady rate, for load and fault tests and for trying
 * Backplane out without root. Event `i` is a function of seed and `i` alone
 * (its time: start + i / rate), so two runs with one seed say the same.
 */
import { BackplaneError } from '../../../errors.js';
import {
  DRAIN_IDLE_MS,
  SYNTHETIC_EVENTS_PER_DRAIN_MAX,
  SYNTHETIC_EVENTS_PER_SECOND_MAX,
  SYNTHETIC_LANES_MAX,
} from '../../../limits.js';
import { BUILTIN_FORMATS } from '../builtin-formats.js';
import type { ClockPair, DrainResult, ExecRecord, Source, SourceSink } from '../source.js';
import { TraceClock, uptimeNow } from '../tracefs/clock.js';
import { type NewEntry, PageWriter } from './page-writer.js';
import { type SyntheticEvent, syntheticEvent } from './synthetic-events.js';
import { MixPlan, type SyntheticMix } from './synthetic-mix.js';

export interface SyntheticOptions {
  readonly eventsPerSecond: number;
  /** Default 2. */
  readonly lanes?: number;
  /** Default 1. */
  readonly seed?: number;
  /** Default `{ life: 1 }`. */
  readonly mix?: SyntheticMix;
  /** Events in all; unlimited by default. */
  readonly eventsMax?: number;
  /** Trace clock, nanoseconds; the machine's boot clock by default. */
  readonly nowNs?: () => bigint;
}

const PAGE_BYTES = 64 * 1024;

export class SyntheticSource implements Source {
  readonly name = 'synthetic';
  readonly formats = BUILTIN_FORMATS;
  readonly lanes: number;
  readonly degraded = 'events are made up: the source is synthetic';
  readonly pageBytesMax = PAGE_BYTES;
  readonly idleMs = DRAIN_IDLE_MS;
  /** Events made so far. */
  produced = 0;
  readonly #clock = new TraceClock(uptimeNow);
  readonly #nowNs: () => bigint;
  readonly #writers: PageWriter[];
  readonly #plan: MixPlan;
  #startNs = 0n;
  #sink: SourceSink | undefined;

  readonly #options: SyntheticOptions;

  constructor(options: SyntheticOptions) {
    this.#options = options;
    const { eventsPerSecond, lanes = 2 } = options;
    if (!(eventsPerSecond > 0 && eventsPerSecond <= SYNTHETIC_EVENTS_PER_SECOND_MAX)) {
      throw new BackplaneError(
        'invalid_argument',
        `eventsPerSecond must be above 0 and at most ${SYNTHETIC_EVENTS_PER_SECOND_MAX}, got ${eventsPerSecond}`,
      );
    }
    if (!(Number.isInteger(lanes) && lanes >= 1 && lanes <= SYNTHETIC_LANES_MAX)) {
      throw new BackplaneError('invalid_argument', `lanes must be 1 to ${SYNTHETIC_LANES_MAX}, got ${lanes}`);
    }
    this.lanes = lanes;
    this.#plan = new MixPlan(options.mix ?? { life: 1 });
    this.#nowNs = options.nowNs ?? (() => this.#clock.nowNs());
    this.#writers = Array.from({ length: lanes }, () => new PageWriter(PAGE_BYTES));
  }

  async start(sink: SourceSink): Promise<void> {
    this.#sink = sink;
    this.#startNs = this.#nowNs();
  }

  /** Makes what is due; at most SYNTHETIC_EVENTS_PER_DRAIN_MAX at once. */
  drain(): DrainResult {
    const sink = this.#sink;
    if (sink === undefined) throw new BackplaneError('failed_precondition', 'the synthetic source is not running');
    const elapsedNs = Number(this.#nowNs() - this.#startNs);
    const total = this.#options.eventsMax ?? Number.MAX_SAFE_INTEGER;
    const due = Math.min(total, Math.floor((elapsedNs * this.#options.eventsPerSecond) / 1e9) + 1);
    const end = Math.min(due, this.produced + SYNTHETIC_EVENTS_PER_DRAIN_MAX);
    const result = { pages: 0, bytes: 0, empty: end === due, filled: 0 };
    for (; this.produced < end; this.produced++) this.#make(this.produced, sink, result);
    for (let lane = 0; lane < this.lanes; lane++) this.#flush(lane, sink, result);
    sink.horizon(this.produced === total ? this.#nowNs() : this.#timeNs(this.produced));
    return result;
  }

  clock(): ClockPair {
    const pair = this.#clock.pair();
    if (this.#options.nowNs === undefined) return pair;
    return { bootNs: this.#nowNs(), wallNs: pair.wallNs };
  }

  overrun(): number {
    return 0;
  }

  async stop(): Promise<void> {
    this.#sink = undefined;
  }

  #timeNs(index: number): bigint {
    return this.#startNs + BigInt(Math.floor((index * 1e9) / this.#options.eventsPerSecond));
  }

  #make(index: number, sink: SourceSink, result: { pages: number; bytes: number }): void {
    const event = syntheticEvent(this.#plan.at(index), this.#options.seed ?? 1, this.lanes);
    const timeNs = this.#timeNs(index);
    const { format, pid, values } = event;
    const entry: NewEntry = { format, pid, values, timeNs };
    if (!this.#writers[event.lane]!.append(entry)) {
      this.#flush(event.lane, sink, result);
      this.#writers[event.lane]!.append(entry);
    }
    if (event.process !== undefined) sink.exec(execRecord(event, timeNs));
  }

  #flush(lane: number, sink: SourceSink, result: { pages: number; bytes: number }): void {
    const bytes = this.#writers[lane]!.take();
    if (bytes === undefined) return;
    sink.page({ lane, bytes, lost: 0, lostUnknown: false });
    result.pages++;
    result.bytes += bytes.length;
  }
}

function execRecord({ lane, pid, process }: SyntheticEvent, timeNs: bigint): ExecRecord {
  return { lane, timeNs, pid, missed: false, process: { ...process!, startTimeNs: timeNs } };
}
