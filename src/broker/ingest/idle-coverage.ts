/**
 * Frames that say that there was nothing, held back: in a log that other machines keep each costs as much as one with events.
 * What a node has to tell next is appended with what was held back in front of it, so that the log has no hole; the node is
 * acknowledged only then, and begins there again if it goes to another broker meanwhile. All who follow are told the time by
 * the broker's tick (PartitionLog.tellSilence).
 */
import { IDLE_HELD_MS_MAX } from '../../limits.js';
import { encodeFrame, type Frame } from '../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../wire/position.js';

/** A frame to be appended. */
export interface Due {
  readonly frame: Frame;
  readonly frameBytes: Buffer;
}

interface Held {
  readonly frame: Frame;
  readonly sinceMs: number;
}

export class IdleCoverage {
  /** By session, then by topic: what a session that ended had sent it sends again. */
  readonly #held = new WeakMap<object, Map<string, Held>>();

  /** Up to where the session has told of the topic, beyond what is appended; undefined: no further. */
  coveredTo(session: object, topic: string): Position | undefined {
    return this.#held.get(session)?.get(topic)?.frame.coveredTo;
  }

  /**
   * Takes a frame that follows on what was taken before. Returns what must be appended now, in order; nothing where it is
   * held back.
   * @param mayWait nobody waits for the log to reach further
   */
  take(session: object, { frame, frameBytes }: Due, mayWait: boolean, nowMs = performance.now()): readonly Due[] {
    const topics = this.#topicsOf(session);
    const held = topics.get(frame.topic);
    topics.delete(frame.topic);
    const joined = held === undefined ? frame : joinedTo(held.frame, frame);
    const sinceMs = held?.sinceMs ?? nowMs;
    if (joined !== undefined && mayWait && isSilent(frame) && nowMs - sinceMs < IDLE_HELD_MS_MAX) {
      topics.set(frame.topic, { frame: joined, sinceMs });
      return [];
    }
    if (held === undefined) return [{ frame, frameBytes }];
    if (joined !== undefined) return [dueOf(joined)];
    return [dueOf(held.frame), { frame, frameBytes }];
  }

  #topicsOf(session: object): Map<string, Held> {
    let topics = this.#held.get(session);
    if (topics === undefined) {
      topics = new Map();
      this.#held.set(session, topics);
    }
    return topics;
  }
}

/** Whether it tells nothing but that there was nothing. */
function isSilent(frame: Frame): boolean {
  return frame.count === 0 && frame.continues && tellsNoMore(frame);
}

/** Whether it counts nothing: such counts are of a whole frame, and would be of a longer one. */
function tellsNoMore({ shed, lost, lostUnknown, losses, late, refused }: Frame): boolean {
  return shed.length === 0 && lost === 0 && !lostUnknown && losses.length === 0 && late === 0 && !refused;
}

/** The frame, from where the one before it begins; undefined where they are not to be one. */
function joinedTo(before: Frame, frame: Frame): Frame | undefined {
  const isNext = frame.continues && comparePositions(frame.coveredFrom, before.coveredTo) === 0;
  if (!isNext || before.coveredTo.epoch !== frame.coveredTo.epoch || !tellsNoMore(frame)) return undefined;
  return { ...frame, coveredFrom: before.coveredFrom, continues: before.continues };
}

function dueOf(frame: Frame): Due {
  return { frame, frameBytes: encodeFrame(frame) };
}
