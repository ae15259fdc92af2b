/** Decides in which epoch an agent goes on recording, from what its broker tells it. */
import { BackplaneError } from '../../errors.js';
import { COVERED_AHEAD_NS_MAX } from '../../limits.js';
import type { Position } from '../../wire/position.js';
import type { Recorder } from './recorder.js';

/** How far the broker's log has this node. */
interface Covered {
  readonly to: Position;
}

/**
 * The later of this epoch and the broker's, or the one after it when the broker's log covers times beyond `nowNs` of
 * the trace clock. Such coverage comes from a defect, or from somebody who took this node's name. Events up to that
 * time would count as sent already, so the node would be silent until its clock gets there; in a later epoch they count
 * as new.
 */
function epochToGoOnWith(epoch: number, epochMin: number, covered: readonly Covered[], nowNs: bigint): number {
  const agreed = Math.max(epoch, epochMin);
  const ahead = covered.some(({ to }) => to.epoch === agreed && to.timeNs > nowNs + COVERED_AHEAD_NS_MAX);
  return ahead ? agreed + 1 : agreed;
}

/** Begins a later epoch if needed; throws `unavailable` if the broker must learn of it by another Hello. */
export async function agreeOnEpoch(
  recorder: Recorder,
  covered: readonly Covered[],
  epochMin: number,
  nowNs: bigint,
  durable: () => Promise<void>,
): Promise<void> {
  const { origin, clock } = recorder.timeline;
  const epoch = epochToGoOnWith(origin.epoch, epochMin, covered, nowNs);
  if (epoch === origin.epoch) return;
  // The broker counts events recorded under the earlier number as covered and ignores them, so the epoch is `unclosed`.
  recorder.begin({ ...origin, epoch, continued: true, unclosed: true, entriesTaken: undefined }, clock);
  await durable();
  if (epoch <= epochMin) return;
  const why = 'the broker has frames of this node from beyond its clock';
  throw new BackplaneError('unavailable', `${why}: recording goes on in epoch ${epoch}, connecting again`);
}
