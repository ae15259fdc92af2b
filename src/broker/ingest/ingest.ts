/**
 * Takes in frames: checks each against what the log covers, appends it, and
 * resolves when it is durable. A frame that is already covered is dropped. A frame
 * that overlaps is refused, because no correct agent sends one. A frame that the
 * disk refuses is held until the disk takes it.
 *
 * Frames of one node and topic are appended one after the other, because what
 * the log covers is only known once the frame before is durable.
 *
 * An invalid frame ends its session, and the agent builds it again from its
 * recorder. If the same stretch arrives invalid a second time it always will, so
 * it is recorded as a gap of unknown size.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { Lanes } from '../../flow/one-at-a-time.js';
import { TOPICS } from '../../wire/event/event.js';
import { decodeFrame, encodeFrame, type Frame, refusedFrame, stretchOf } from '../../wire/frame/frame.js';
import { checkEvents } from '../../wire/frame/frame-columns.js';
import { comparePositions, type Position, positionText } from '../../wire/position.js';
import { follows } from '../log/chain.js';
import type { LogStore } from '../log/log-store.js';
import type { PartitionLog } from '../log/partition-log.js';
import type { NodeRecord, Refusal } from '../nodes/node-record.js';
import { type HeldFrames, isDiskTrouble } from './held-frames.js';
import { type Due, IdleCoverage } from './idle-coverage.js';
import { Intake } from './intake.js';

export interface IngestCounters {
  frames: number;
  events: number;
  bytes: number;
  duplicates: number;
  /** Invalid frames, and gaps that agents sent in place of frames they could not make. */
  refused: number;
}

/** The session that sent a frame. */
interface Sender {
  readonly record: NodeRecord;
  /** Frames of earlier epochs are refused. */
  readonly frameEpochMin: number;
  /** Fires when the session has ended. */
  readonly closed: AbortSignal;
}

/** Called with true when a frame is held, and with false once the log took it. In between, the sender is not read. */
type OnHeld = (held: boolean) => void;

export interface Accepted {
  readonly topic: string;
  readonly coveredTo: Position;
  /**
   * Resolves when the frame is durable, with false where it is held back: then it is acknowledged with a later one. Rejects
   * with failed_precondition when it overlaps what is covered, and with cancelled when the session ended before the log took
   * it.
   */
  readonly durable: Promise<boolean>;
  /** Why a gap was taken in place of events; undefined for an ordinary frame. */
  readonly refusal: Refusal | undefined;
}

interface Taken {
  readonly frame: Frame;
  readonly frameBytes: Buffer;
  readonly refusal: Refusal | undefined;
}

export class Ingest {
  readonly totals: IngestCounters = { frames: 0, events: 0, bytes: 0, duplicates: 0, refused: 0 };
  readonly byTopic = new Map<string, { frames: number; events: number; bytes: number }>();
  /** What calls accept() takes its turn there. */
  readonly intake = new Intake();

  /** By node and topic, the frames that are not durable yet, also those of earlier sessions. */
  readonly #lanes = new Lanes();
  readonly #idle = new IdleCoverage();

  readonly #store: LogStore;
  readonly #held: HeldFrames;
  readonly #onRefused: (record: NodeRecord, refusal: Refusal) => void;

  constructor(store: LogStore, held: HeldFrames, onRefused: (record: NodeRecord, refusal: Refusal) => void) {
    this.#store = store;
    this.#held = held;
    this.#onRefused = onRefused;
  }

  /** Throws invalid_argument for an invalid frame, failed_precondition for an epoch that the session may not send. */
  accept(sender: Sender, sentBytes: Buffer, onHeld: OnHeld): Accepted {
    const { record, frameEpochMin } = sender;
    const taken = this.#read(record, sentBytes);
    const { topic, coveredTo } = taken.frame;
    if (coveredTo.epoch < frameEpochMin || coveredTo.epoch > record.epoch) {
      throw new BackplaneError(
        'failed_precondition',
        `frame: epoch must be ${frameEpochMin} to ${record.epoch}, got ${coveredTo.epoch}`,
      );
    }
    const durable = this.#lanes.run(laneKey(record.name, topic), () => this.#take(sender, taken, onHeld));
    return { topic, coveredTo, durable, refusal: taken.refusal };
  }

  /** Resolves when none of the node's frames is pending. Only then is it known how far the log covers the node. */
  async settled(node: string): Promise<void> {
    await this.#lanes.settled(Object.keys(TOPICS).map((topic) => laneKey(node, topic)));
  }

  async #take(sender: Sender, taken: Taken, onHeld: OnHeld): Promise<boolean> {
    const { record, closed } = sender;
    const { frame } = taken;
    // The agent did not get an acknowledgement, so it sends the frame again in its next session.
    if (closed.aborted) throw new BackplaneError('cancelled', 'the session has ended');
    const node = record.name;
    const { topic, coveredFrom } = frame;
    const log = this.#store.of(node);
    const appended = log.coveredTo(node, topic);
    const ahead = this.#idle.coveredTo(sender, topic);
    const covered = ahead ?? appended;
    const followed = follows(frame, covered);
    if (followed === 'duplicate') {
      this.totals.duplicates++;
      return ahead === undefined;
    }
    if (followed === 'overlap') {
      throw new BackplaneError(
        'failed_precondition',
        `frame: covered_from must not be before ${positionText(covered!)}, up to where ${topic} of node ${node} is ` +
          `covered, got ${positionText(coveredFrom)}`,
      );
    }
    if (log.tellSilence === undefined) {
      await this.#append(log, sender, taken, onHeld);
      return true;
    }
    // Behind an answer to a new interest the log must reach further, so that cursors need not name the node.
    const { heldTo } = record;
    const mayWait = appended !== undefined && (heldTo === undefined || comparePositions(appended, heldTo) >= 0);
    const due = this.#idle.take(sender, taken, mayWait);
    for (const each of due) await this.#append(log, sender, each, onHeld);
    if (due.length === 0) log.tellSilence({ node, topic, watermarkNs: frame.watermarkNs });
    return due.length > 0;
  }

  async #append(log: PartitionLog, { record, closed }: Sender, { frame, frameBytes }: Due, onHeld: OnHeld) {
    const append = async () => {
      await log.append(record.name, frame, frameBytes);
    };
    try {
      await append();
    } catch (cause) {
      if (!isDiskTrouble(cause)) throw cause;
      onHeld(true);
      await this.#held.hold(log, cause, { bytes: frameBytes.length, append, signal: closed });
      onHeld(false);
    }
    this.#count(frame, frameBytes.length);
  }

  /** Returns the frame that was sent, or the gap that is taken in its place. */
  #read(record: NodeRecord, sentBytes: Buffer): Taken {
    try {
      const frame = decodeFrame(sentBytes);
      checkTopic(frame.topic);
      checkEvents('frame', frame);
      if (!frame.refused) return { frame, frameBytes: sentBytes, refusal: undefined };
      return { frame, frameBytes: sentBytes, refusal: this.#refuse(record, frame, 'its agent could not make one') };
    } catch (cause) {
      const { message, code } = asBackplaneError(cause);
      const before = record.refusal;
      const taken = placeholder(sentBytes);
      const refusal = this.#refuse(record, taken?.frame, message);
      if (taken && before?.stretch === refusal.stretch) return { ...taken, refusal };
      throw new BackplaneError(code, refusal.message);
    }
  }

  #refuse(record: NodeRecord, frame: Frame | undefined, reason: string): Refusal {
    this.totals.refused++;
    const stretch = frame && `${frame.topic} behind ${positionText(frame.coveredFrom)}`;
    const of = stretch === undefined ? '' : ` of ${stretch}`;
    const refusal = { stretch, message: `no sound frame${of}: ${reason}`.slice(0, 400), atMs: Date.now() };
    this.#onRefused(record, refusal);
    return refusal;
  }

  #count(frame: Frame, bytes: number): void {
    this.totals.frames++;
    this.totals.events += frame.count;
    this.totals.bytes += bytes;
    let topic = this.byTopic.get(frame.topic);
    if (topic === undefined) {
      topic = { frames: 0, events: 0, bytes: 0 };
      this.byTopic.set(frame.topic, topic);
    }
    topic.frames++;
    topic.events += frame.count;
    topic.bytes += bytes;
  }
}

function laneKey(node: string, topic: string): string {
  return `${node} ${topic}`;
}

function checkTopic(topic: string): void {
  if (Object.hasOwn(TOPICS, topic)) return;
  throw new BackplaneError('invalid_argument', `frame: unknown topic ${JSON.stringify(topic.slice(0, 40))}`);
}

/** A gap in place of an invalid frame; undefined when its topic or stretch cannot be read. */
function placeholder(sentBytes: Buffer): Pick<Taken, 'frame' | 'frameBytes'> | undefined {
  const stretch = stretchOf(sentBytes);
  if (stretch === undefined) return undefined;
  const frame = refusedFrame(stretch);
  try {
    checkTopic(frame.topic);
    return { frame, frameBytes: encodeFrame(frame) };
  } catch {
    return undefined;
  }
}
