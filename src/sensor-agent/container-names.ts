/**
 * Finds out what containers are: asks the machine's runtimes when a new id comes up in a cgroup, several at once where
 * several came up, and records what they say. Nothing of it is in the way of events: they wait in the timeline, for a
 * bounded time, after which it is recorded that nobody said in time.
 *
 *   Timeline ── unknown ids ──▶ ContainerNames ── ask() ──▶ Runtimes
 *   Recorder ◀── containers() ──┘  ▲──────────── answers ──────┘
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asBackplaneError } from '../errors.js';
import { Pacer } from '../flow/pacer.js';
import {
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
  /** By then it is recorded that nobody said in time; Infinity: that is recorded. */
  lateMs: number;
  /** When it is asked for next. */
  dueMs: number;
  /** Answers of all runtimes that did not have it. */
  tries: number;
}

export interface ContainerLog extends RuntimeLog {
  error(message: string): void;
}

export class ContainerNames {
  readonly #runtimes: Runtimes;
  readonly #wanted = new Map<string, Wanted>();
  #timer: NodeJS.Timeout | undefined;
  #asking = false;
  #lookedMs = Number.NEGATIVE_INFINITY;
  /** All events wait for what nobody names, and who may make cgroups makes as many ids as he likes: so long in all. */
  readonly #waits = new Pacer(CONTAINER_WAITS_SHARE, CONTAINER_WAITS_BURST_MS);
  /** Until then nothing waits. */
  #waitsFromMs = 0;
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
    if (waitingContainer) this.#want(waitingContainer.id, nowMs);
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

  #want(id: string, nowMs: number): void {
    const lateMs = this.#waitsFromMs <= nowMs ? nowMs + CONTAINER_WAIT_MS : nowMs;
    const known = this.#wanted.get(id);
    // What was recorded of it had to make room: an event waits anew.
    if (known?.lateMs === Number.POSITIVE_INFINITY) known.lateMs = lateMs;
    if (known !== undefined) return;
    if (this.#wanted.size >= CONTAINERS_WANTED_MAX) this.#wanted.delete(this.#wanted.keys().next().value!);
    this.#wanted.set(id, { lateMs, dueMs: nowMs, tries: 0 });
  }

  /** Does what is due, and sets the timer for what is due next. */
  #work(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const nowMs = performance.now();
    const late: string[] = [];
    const due: string[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [id, wanted] of this.#wanted) {
      if (wanted.lateMs <= nowMs) late.push(id);
      else nextMs = Math.min(nextMs, wanted.lateMs);
      if (this.#asking) continue;
      if (wanted.dueMs <= nowMs) due.push(id);
      else nextMs = Math.min(nextMs, wanted.dueMs);
    }
    this.#tooLate(late, nowMs);
    if (due.length > 0) void this.#ask(due);
    if (nextMs < Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.#work(), Math.ceil(nextMs - nowMs)).unref();
  }

  /** Lets events go on that wait for them. */
  #tooLate(ids: readonly string[], nowMs: number): void {
    if (ids.length === 0) return;
    // Those that came up together were waited for together.
    if (this.#waitsFromMs <= nowMs) this.#waitsFromMs = nowMs + this.#waits.spend(CONTAINER_WAIT_MS);
    for (const id of ids) this.#wanted.get(id)!.lateMs = Number.POSITIVE_INFINITY;
    this.#record(ids.map((id) => ({ id, unresolved: true })));
  }

  async #ask(ids: readonly string[]): Promise<void> {
    this.#asking = true;
    const { found, whole } = await this.#runtimes.ask(ids);
    this.#asking = false;
    const nowMs = performance.now();
    const asked = new Set(ids);
    // Of a whole list only those: the others are recorded, or were not asked for because nobody runs in them.
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
