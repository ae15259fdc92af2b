/**
 * Allows for the time from an event's time stamp until readers see the event.
 * Preemption is off meanwhile, so a millisecond is plenty on a CPU of one's
 * own, but a hypervisor may take a virtual CPU away in between. Where that was
 * seen more is allowed, as such events would come too late; not more than
 * needed, as waiting delays all others.
 */
import { COMMIT_SLACK_KEPT_NS, COMMIT_SLACK_NS_MAX, COMMIT_SLACK_NS_MIN } from '../../../limits.js';

export class CommitSlack {
  #ns = COMMIT_SLACK_NS_MIN;
  #untilNs = 0n;

  at(nowNs: bigint): bigint {
    if (nowNs > this.#untilNs) this.#ns = COMMIT_SLACK_NS_MIN;
    return this.#ns;
  }

  /** Called when an event came `byNs` later than was allowed for. */
  exceeded(byNs: bigint, nowNs: bigint): void {
    const ns = 2n * (this.#ns + byNs);
    this.#ns = ns < COMMIT_SLACK_NS_MAX ? ns : COMMIT_SLACK_NS_MAX;
    this.#untilNs = nowNs + COMMIT_SLACK_KEPT_NS;
  }
}
