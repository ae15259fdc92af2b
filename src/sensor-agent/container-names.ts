/**
 * Finds out what containers are: asks the machine's runtimes when a new id comes up in a cgroup, with one question for all
 * that came up meanwhile, and records what they say. Nothing of it is in the way of events: they wait in the timeline, for
 * a bounded time, after which it is recorded that nobody said in time.
 *
 *   Timeline ── unknown ids ──▶ ContainerNames ── ask() ──▶ Runtimes
 *   Recorder ◀── containers() ──┘  ▲──────────── answers ──────┘
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asBackplaneError } from '../errors.js';
import { Pacer } from '../flow/pacer.js';
import {
  CONTAINER_QUESTIONS_MAX,
  CONTAINER_RETRY_MS_MAX,
  CONTAINER_RETRY_MS_MIN,
  CONTAINER_TRIES_MAX,
  CONTAINER_WAIT_MS,
  CONTAINER_WAITS_BURST_MS,
  CONTAINER_WAITS_SHARE,
  CONTAINERS_WANTED_MAX,
  RUNTIME_LOOK_MS,
  RUNTIME_PAUSE_MS,
} from '../limits/containers.js';
import type { Recorder } from './recorder/recorder.js';
import type { RecordedContainer } from './recorder/recording.js';
import type { RuntimePlace } from './source/containers/runtime-places.js';
import { type RuntimeLog, Runtimes } from './source/containers/runtimes.js';

interface Wanted {
  /** When it is asked for next; Infinity: a question is under way. */
  dueMs: number;
  /** An event waits for it, or did. */
  awaited: boolean;
  /** Answers of all runtimes that did not have it. */
  tries: number;
}

/** Events that were read within so long count as read together. */
const READS_APART_MS = 5;

export interface ContainerLog extends RuntimeLog {
  error(message: string): void;
}

export class ContainerNames {
  readonly #runtimes: Runtimes;
  readonly #wanted = new Map<string, Wanted>();
  #timer: NodeJS.Timeout | undefined;
  #questions = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;
  /** All events wait for what nobody names, and who may make cgroups makes as many ids as he likes: so long in all. */
  readonly #waits = new Pacer(CONTAINER_WAITS_SHARE, CONTAINER_WAITS_BURST_MS);
  /** Until then nothing waits. */
  #waitsFromMs = 0;
  /** What was waited until then is counted. */
  #countedMs = 0;
  /** When events were read, by the ordinal below which all records were by then; only those that may still wait. */
  #read: { ordinal: number; ms: number }[] = [];
  #stopped = false;

  readonly #recorder: Recorder;
  readonly #log: ContainerLog;

  private constructor(recorder: Recorder, places: readonly RuntimePlace[], log: ContainerLog) {
    this.#recorder = recorder;
    this.#runtimes = new Runtimes(places, log);
    this.#log = log;
  }

  /** Asks for what there is, so that nothing of it is unknown at first; does not wait for a runtime that hangs. */
  static async start(recorder: Recorder, places: readonly RuntimePlace[] | undefined, log: ContainerLog) {
    const names = new ContainerNames(recorder, places ?? [], log);
    recorder.timeline.containersKnown.noteUnknown();
    names.#lookedMs = performance.now();
    const wait = () => sleep(CONTAINER_WAIT_MS, undefined, { ref: false });
    if (names.#runtimes.look()) await Promise.race([names.#askAll(), wait()]);
    names.#record([]);
    return names;
  }

  /** Called behind every drain. */
  step(nowMs: number): void {
    const { containersKnown, waitingContainer } = this.#recorder.timeline;
    const ids = containersKnown.takeUnknown();
    for (const id of ids) this.#want(id, nowMs);
    this.#noteRead(nowMs, waitingContainer?.ordinal);
    if (ids.length > 0 || waitingContainer) this.#work();
    if (nowMs - this.#lookedMs >= RUNTIME_LOOK_MS) this.#look(nowMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#runtimes.close();
  }

  #look(nowMs: number): void {
    this.#lookedMs = nowMs;
    if (this.#runtimes.look()) void this.#askAll();
    this.#record([]);
  }

  async #askAll(): Promise<void> {
    const { found } = await this.#runtimes.ask(undefined);
    for (const { id } of found) this.#wanted.delete(id);
    this.#record(found);
  }

  #want(id: string, nowMs: number): Wanted {
    const known = this.#wanted.get(id);
    if (known !== undefined) return known;
    if (this.#wanted.size >= CONTAINERS_WANTED_MAX) this.#wanted.delete(this.#wanted.keys().next().value!);
    const wanted = { dueMs: nowMs, awaited: false, tries: 0 };
    this.#wanted.set(id, wanted);
    return wanted;
  }

  /** `waiting`: the record of the event that holds back all later ones. */
  #noteRead(nowMs: number, waiting: number | undefined): void {
    const ordinal = this.#recorder.log.nextOrdinal;
    const oldestMs = nowMs - CONTAINER_WAIT_MS;
    this.#read = this.#read.filter((read) => (waiting === undefined ? read.ms > oldestMs : read.ordinal > waiting));
    const last = this.#read.at(-1);
    if (last && nowMs - last.ms < READS_APART_MS) last.ordinal = ordinal;
    else this.#read.push({ ordinal, ms: nowMs });
  }

  /** Does what is due, and sets the timer for what is due next. */
  #work(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const nowMs = performance.now();
    let nextMs = this.#letGo(nowMs);
    if (this.#questions < CONTAINER_QUESTIONS_MAX) {
      const due = [...this.#wanted].filter(([, { dueMs }]) => dueMs <= nowMs).map(([id]) => id);
      if (due.length > 0) void this.#ask(due);
      for (const { dueMs } of this.#wanted.values()) nextMs = Math.min(nextMs, dueMs);
    }
    if (nextMs < Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.#work(), Math.ceil(nextMs - nowMs)).unref();
  }

  /**
   * Lets events go on that have waited for long enough since they were read, for whichever containers: one behind others
   * waits no longer than they do. Returns when the next will have.
   */
  #letGo(nowMs: number): number {
    for (;;) {
      const waiting = this.#recorder.timeline.waitingContainer;
      if (waiting === undefined) return Number.POSITIVE_INFINITY;
      const wanted = this.#want(waiting.id, nowMs);
      awaitNow(wanted, nowMs);
      const readMs = this.#read.find(({ ordinal }) => ordinal > waiting.ordinal)?.ms ?? nowMs;
      const lateMs = this.#waitsFromMs <= nowMs ? readMs + CONTAINER_WAIT_MS : nowMs;
      if (lateMs > nowMs) return lateMs;
      if (this.#waitsFromMs <= nowMs) {
        const waitedMs = nowMs - Math.max(readMs, this.#countedMs);
        this.#waitsFromMs = nowMs + this.#waits.spend(waitedMs);
        this.#countedMs = nowMs;
      }
      this.#record([{ id: waiting.id, unresolved: true }]);
      // It could not be recorded.
      if (this.#recorder.timeline.waitingContainer?.id === waiting.id) return nowMs + CONTAINER_WAIT_MS;
    }
  }

  async #ask(ids: readonly string[]): Promise<void> {
    this.#questions += 1;
    for (const id of ids) this.#wanted.get(id)!.dueMs = Number.POSITIVE_INFINITY;
    const { found, whole } = await this.#runtimes.ask(ids);
    this.#questions -= 1;
    const nowMs = performance.now();
    const asked = new Set(ids);
    const named = new Map(found.filter(({ id }) => asked.has(id)).map((each) => [each.id, each]));
    for (const id of ids) {
      const wanted = this.#wanted.get(id);
      if (wanted === undefined) continue;
      const pauseMs = whole ? CONTAINER_RETRY_MS_MIN * 2 ** wanted.tries : RUNTIME_PAUSE_MS;
      wanted.dueMs = nowMs + Math.min(CONTAINER_RETRY_MS_MAX, pauseMs);
      // A runtime that does not answer may do so later; what all say that they do not have is no runtime's.
      if (whole) wanted.tries += 1;
      if (named.has(id) || wanted.tries >= CONTAINER_TRIES_MAX) this.#wanted.delete(id);
    }
    this.#record([...named.values()]);
    this.#work();
  }

  /** Nothing: only whether there is a runtime, where that changed. */
  #record(containers: readonly RecordedContainer[]): void {
    const asked = this.#runtimes.present;
    if (this.#stopped || (containers.length === 0 && asked === this.#recorder.timeline.containersKnown.asked)) return;
    try {
      this.#recorder.containers(containers, asked);
    } catch (cause) {
      this.#log.error(`containers cannot be recorded: ${asBackplaneError(cause).message}`);
    }
  }
}

/** Its cgroup may have been seen long before its first program ran, and asked for so often that the next time is far. */
function awaitNow(wanted: Wanted, nowMs: number): void {
  if (wanted.awaited) return;
  wanted.awaited = true;
  wanted.tries = 0;
  if (wanted.dueMs < Number.POSITIVE_INFINITY) wanted.dueMs = nowMs;
}
