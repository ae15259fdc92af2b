/** In which epoch an agent goes on recording, by what its broker tells it. */
import { BackplaneError } from '../../errors.js';
import { COVERED_AHEAD_NS_MAX } from '../../limits.js';
import type { WelcomeTopic } from '../publish/publisher.js';
import type { Recorder } from './recorder.js';

/**
 * The same one or the broker's, unless the broker's log claims a time of it beyond `nowNs` of the trace clock: a defect,
 * or somebody who took this node's name, covered what has not happened yet. That would pass for told when it happens,
 * and the node would be silent until its clock is there; in a later epoch it counts as new.
 */
function epochToGoOnWith(epoch: number, epochMin: number, covered: readonly WelcomeTopic[], nowNs: bigint): number {
  const agreed = Math.max(epoch, epochMin);
  const ahead = covered.some(({ to }) => to.epoch === agreed && to.timeNs > nowNs + COVERED_AHEAD_NS_MAX);
  return ahead ? agreed + 1 : agreed;
}

/** Begins a later epoch where there must be one; throws `unavailable` where the broker has to be told of it by another Hello. */
export async function agreeOnEpoch(
  recorder: Recorder,
  covered: readonly WelcomeTopic[],
  epochMin: number,
  nowNs: bigint,
  durable: () => Promise<void>,
): Promise<void> {
  const { origin, clock } = recorder.timeline;
  const epoch = epochToGoOnWith(origin.epoch, epochMin, covered, nowNs);
  if (epoch === origin.epoch) return;
  // What was recorded under the earlier number passes for covered, and is not taken.
  recorder.begin({ ...origin, epoch, continued: true, unclosed: true }, clock);
  await durable();
  if (epoch <= epochMin) return;
  const why = 'the broker has frames of this node from beyond its clock';
  throw new BackplaneError('unavailable', `${why}: recording goes on in epoch ${epoch}, connecting again`);
}
