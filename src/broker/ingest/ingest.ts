/**
 * Takes frames in: checks them against what the log has, appends, and
 * acknowledges what is durable. Drops what is already covered; refuses what
 * overlaps, because agents never send that; keeps what the disk refuses until
 * it takes it.
 *
 * A frame that is not sound ends its session, and the agent reads its recorder
 * again. Comes the same stretch unsound again, it would come for ever: then it
 * is taken as a gap whose count is not known.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { TOPICS } from '../../wire/event/event.js';
import { decodeFrame, encodeFrame, type Frame, refusedFrame, stretchOf } from '../../wire/frame/frame.js';
import { checkEvents } from '../../wire/frame/frame-columns.js';
import { comparePositions, type Position, positionText } from '../../wire/position.js';
import type { FanOut } from '../log/fan-out.js';
import type { LogStore } from '../log/log-store.js';
import type { PartitionLog } from '../log/partition-log.js';
import type { NodeRecord, Refusal } from '../nodes/node-record.js';
import { type HeldFrames, isDiskTrouble } from './held-frames.js';

export interface IngestCounters {
  frames: number;
  events: number;
  bytes: number;
  duplicates: number;
  /** Not sound, or in the place of one that was not. */
  refused: number;
}

/** A node's session. */
interface Sender {
  readonly record: NodeRecord;
  /** Frames of earlier epochs are refused. */
  readonly frameEpochMin: number;
}

export interface Accepted {
  readonly topic: string;
  readonly coveredTo: Position;
  /**
   * Resolves when the frame may be acknowledged: never, when the log can no longer promise it. Rejects with cancelled
   * when the session ended before the frame was taken.
   */
  readonly durable: Promise<void>;
  /** The log refuses it at this moment: nothing more is to be read from its sender until it is durable. */
  readonly held: boolean;
  /** Set where a gap was taken in the place of events: why. */
  readonly refusal: Refusal | undefined;
}

interface Taken {
  readonly frame: Frame;
  readonly frameBytes: Buffer;
  readonly refusal: Refusal | undefined;
}

export class Ingest {
  readonly totals: IngestCounters = { frames: 0, events: 0, bytes: 0, duplicates: 0, refused: 0 };
  readonly byTopic = new Map<string, { frames: number; events: number }>();

  constructor(
    private readonly store: LogStore,
    private readonly fanOut: FanOut,
    private readonly held: HeldFrames,
    private readonly onRefused: (record: NodeRecord, refusal: Refusal) => void,
  ) {}

  /**
   * Throws invalid_argument for a broken frame, failed_precondition for one
   * that overlaps or is of too early an epoch. `signal` ends with the session.
   */
  accept({ record, frameEpochMin }: Sender, sentBytes: Buffer, signal: AbortSignal): Accepted {
    const { frame, frameBytes, refusal } = this.read(record, sentBytes);
    const node = record.name;
    const { topic, coveredTo } = frame;
    if (coveredTo.epoch < frameEpochMin || coveredTo.epoch > record.epoch) {
      throw new BackplaneError(
        'failed_precondition',
        `frame: epoch must be ${frameEpochMin} to ${record.epoch}, got ${coveredTo.epoch}`,
      );
    }
    const log = this.store.of(topic, node);
    const covered = log.coveredTo(node);
    if (covered && comparePositions(coveredTo, covered) <= 0) {
      this.totals.duplicates++;
      return { topic, coveredTo, durable: this.promised(log, log.settled()), held: false, refusal };
    }
    if (covered && comparePositions(frame.coveredFrom, covered) < 0) {
      throw new BackplaneError(
        'failed_precondition',
        `frame: covered_from must not be before ${positionText(covered)}, up to where ${topic} of node ${node} is ` +
          `covered, got ${positionText(frame.coveredFrom)}`,
      );
    }
    const append = () => this.promised(log, this.append(log, node, frame, frameBytes));
    try {
      return { topic, coveredTo, durable: append(), held: false, refusal };
    } catch (cause) {
      if (!isDiskTrouble(cause)) throw cause;
      const durable = this.held.hold(log, cause, { bytes: frameBytes.length, append, signal });
      return { topic, coveredTo, durable, held: true, refusal };
    }
  }

  /** The frame that was sent, or the one that is taken in its place. */
  private read(record: NodeRecord, sentBytes: Buffer): Taken {
    try {
      const frame = decodeFrame(sentBytes);
      checkTopic(frame.topic);
      checkEvents('frame', frame);
      if (!frame.refused) return { frame, frameBytes: sentBytes, refusal: undefined };
      return { frame, frameBytes: sentBytes, refusal: this.refuse(record, frame, 'its agent could not make one') };
    } catch (cause) {
      const { message, code } = asBackplaneError(cause);
      const before = record.refusal;
      const taken = placeholder(sentBytes);
      const refusal = this.refuse(record, taken?.frame, message);
      if (taken && before?.stretch === refusal.stretch) return { ...taken, refusal };
      throw new BackplaneError(code, refusal.message);
    }
  }

  private refuse(record: NodeRecord, frame: Frame | undefined, reason: string): Refusal {
    this.totals.refused++;
    const stretch = frame && `${frame.topic} behind ${positionText(frame.coveredFrom)}`;
    const of = stretch === undefined ? '' : ` of ${stretch}`;
    const refusal = { stretch, message: `no sound frame${of}: ${reason}`.slice(0, 400), atMs: Date.now() };
    this.onRefused(record, refusal);
    return refusal;
  }

  private promised(log: PartitionLog, durable: Promise<void>): Promise<void> {
    return durable.catch((cause) => {
      this.held.refused(log, cause);
      return new Promise(() => undefined);
    });
  }

  private append(log: PartitionLog, node: string, frame: Frame, frameBytes: Buffer): Promise<void> {
    const tail = this.fanOut.tail(log);
    const { offset, durable } = log.append(node, frame, frameBytes);
    tail.add(offset, node, frame, frameBytes.length);
    this.totals.frames++;
    this.totals.events += frame.count;
    this.totals.bytes += frameBytes.length;
    let topic = this.byTopic.get(frame.topic);
    if (topic === undefined) {
      topic = { frames: 0, events: 0 };
      this.byTopic.set(frame.topic, topic);
    }
    topic.frames++;
    topic.events += frame.count;
    return durable;
  }
}

function checkTopic(topic: string): void {
  if (Object.hasOwn(TOPICS, topic)) return;
  throw new BackplaneError('invalid_argument', `frame: unknown topic ${JSON.stringify(topic.slice(0, 40))}`);
}

/** A gap in the place of a frame that is not sound; undefined where nobody can tell of what. */
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
