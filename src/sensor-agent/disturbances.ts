/**
 * Handles changes that others made to the trace instance: each is stated as a
 * loss in the recording, told as host.degraded, and shown in the node's status
 * for a while.
 */
import { INSTANCE_CHANGE_SHOWN_MS } from '../limits.js';
import type { Position } from '../wire/position.js';
import type { Recorder } from './recorder/recorder.js';
import type { Disturbance } from './source/source.js';

export class Disturbances {
  #shown: { readonly message: string; readonly untilMs: number } | undefined;

  readonly #recorder: Recorder;
  /** Where the earlier agent's recording ended. */
  readonly #resumedFrom: Position;
  /** Tells live subscribers and history. */
  readonly #notice: (reason: string, message: string) => void;

  constructor(recorder: Recorder, resumedFrom: Position, notice: (reason: string, message: string) => void) {
    this.#recorder = recorder;
    this.#resumedFrom = resumedFrom;
    this.#notice = notice;
  }

  /** `nowNs` of the trace clock, `nowMs` monotonic. */
  tell({ state, fromNs, loses, message }: Disturbance, nowNs: bigint, nowMs: number): void {
    const { epoch } = this.#recorder.timeline.origin;
    const from = fromNs === undefined ? this.#resumedFrom : { epoch, timeNs: fromNs, lane: 0, tie: 0 };
    if (loses) this.#recorder.lose({ reason: 'trace_changed', from, goesOn: state === 'left', message }, nowNs);
    this.#shown = { message, untilMs: state === 'left' ? Number.POSITIVE_INFINITY : nowMs + INSTANCE_CHANGE_SHOWN_MS };
    this.#notice(state === 'over' ? 'trace_restored' : 'trace_changed', message);
  }

  /** The last disturbance, for the node's status; undefined: none lately. */
  shown(nowMs: number): string | undefined {
    if (this.#shown && nowMs >= this.#shown.untilMs) this.#shown = undefined;
    return this.#shown?.message;
  }
}
