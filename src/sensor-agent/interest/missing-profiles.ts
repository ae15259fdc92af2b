/**
 * States profiles that the overhead guard has switched off as losses: when each
 * begins to be missing, and when that is over.
 */
import { CATALOGUE, type Profile } from '../../subscriptions/pushdown/catalogue.js';
import type { Recorder } from '../recorder/recorder.js';
import type { RecordedLoss } from '../recorder/recording.js';

type Stated = Omit<RecordedLoss, 'timeNs' | 'goesOn'>;

export class MissingProfiles {
  readonly #stated = new Map<Profile, Stated>();

  readonly #recorder: Recorder;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** `profiles`: asked for and not recorded from `nowNs` (trace clock) on; `cause`: why, in a sentence. */
  update(profiles: readonly Profile[], cause: string, nowNs: bigint): void {
    const recorder = this.#recorder;
    for (const [profile, stated] of this.#stated) {
      if (profiles.includes(profile)) continue;
      this.#stated.delete(profile);
      recorder.lose({ ...stated, goesOn: false }, nowNs);
    }
    for (const [tie, profile] of profiles.entries()) {
      if (this.#stated.has(profile)) continue;
      const { epoch } = recorder.timeline.origin;
      const types = [...CATALOGUE.values()].filter((entry) => entry.profile === profile).map(({ type }) => type);
      const message = `events of the profile ${profile} are not recorded: ${cause}`;
      // Two losses that begin at the same time need different ties, or they would count as one.
      const stated: Stated = { reason: 'overhead', types, from: { epoch, timeNs: nowNs, lane: 0, tie }, message };
      this.#stated.set(profile, stated);
      recorder.lose({ ...stated, goesOn: true }, nowNs);
    }
  }
}
