/**
 * States in the recording what disturbed it: changes that others made to the
 * trace instance, told as host.degraded and shown in the node's status for a
 * while, and calls for which the kernel did not run a probe, told as host.loss.
 */
import type { Logger } from 'pino';
import { INSTANCE_CHANGE_SHOWN_MS } from '../limits.js';
import type { Position } from '../wire/position.js';
import type { Recorder } from './recorder/recorder.js';
import type { Disturbance, ProbeMiss } from './source/source.js';

export class Disturbances {
  #shown: { readonly message: string; readonly untilMs: number } | undefined;

  #failuresLogged = 0;
  readonly #recorder: Recorder;
  /** Where the earlier agent's recording ended. */
  readonly #resumedFrom: Position;
  /** Tells live subscribers and history. */
  readonly #notice: (reason: string, message: string) => void;

  readonly #log: Pick<Logger, 'error'>;

  /** Made before anything is recorded anew. */
  constructor(recorder: Recorder, notice: (reason: string, message: string) => void, log: Pick<Logger, 'error'>) {
    this.#recorder = recorder;
    this.#resumedFrom = recorder.timeline.frontier;
    this.#notice = notice;
    this.#log = log;
  }

  /** `nowNs` of the trace clock, `nowMs` monotonic. */
  tell({ state, fromNs, loses, message, entriesTaken }: Disturbance, nowNs: bigint, nowMs: number): void {
    const { epoch } = this.#recorder.timeline.origin;
    const from = fromNs === undefined ? this.#resumedFrom : { epoch, timeNs: fromNs, lane: 0, tie: 0 };
    if (loses)
      this.#recorder.lose({ reason: 'trace_changed', from, goesOn: state === 'left', message, entriesTaken }, nowNs);
    this.#shown = { message, untilMs: state === 'left' ? Number.POSITIVE_INFINITY : nowMs + INSTANCE_CHANGE_SHOWN_MS };
    this.#notice(state === 'over' ? 'trace_restored' : 'trace_changed', message);
  }

  /** Called often, also where nothing was missed. `source`: its name. */
  missed(misses: readonly ProbeMiss[], source: string, nowNs: bigint): void {
    const { epoch } = this.#recorder.timeline.origin;
    for (const [tie, { type, events, fromNs, message }] of misses.entries()) {
      if (type === undefined) continue;
      // Two losses that begin at the same time need different ties, or they would count as one.
      const from = fromNs === undefined ? { ...this.#resumedFrom, tie } : { epoch, timeNs: fromNs, lane: 0, tie };
      const reason = 'probe_missed';
      this.#recorder.lose({ reason, types: [type], events, from, goesOn: false, message }, nowNs);
      const lost = { lost: events ?? 0, lostUnknown: events === undefined };
      this.#recorder.notice('host.loss', { reason, message, ...lost, source }, nowNs);
    }
    this.#logFailures();
  }

  /** Subscribers are told of each as a gap. */
  #logFailures(): void {
    const { count, last } = this.#recorder.timeline.failures;
    if (count > this.#failuresLogged)
      this.#log.error({ err: last }, `an event could not be processed, ${count - this.#failuresLogged} times`);
    this.#failuresLogged = count;
  }

  /** The last disturbance, for the node's status; undefined: none lately. */
  shown(nowMs: number): string | undefined {
    if (this.#shown && nowMs >= this.#shown.untilMs) this.#shown = undefined;
    return this.#shown?.message;
  }
}
