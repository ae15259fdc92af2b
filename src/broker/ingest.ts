/**
 * Takes frames in: checks them against what the log has, appends, and
 * acknowledges what is durable. Drops what is already covered; refuses what
 * overlaps, because agents never send that; keeps what the disk refuses until
 * it takes it.
 */
import { BackplaneError } from '../errors.js';
import { TOPICS } from '../wire/event.js';
import { decodeFrame, type Frame } from '../wire/frame.js';
import { comparePositions, type Position, positionText } from '../wire/position.js';
import type { FanOut } from './fan-out.js';
import { type HeldFrames, isDiskTrouble } from './held-frames.js';
import type { LogStore } from './log/log-store.js';
import type { PartitionLog } from './log/partition-log.js';

export interface IngestCounters {
  frames: number;
  events: number;
  bytes: number;
  duplicates: number;
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
}

export class Ingest {
  readonly totals: IngestCounters = { frames: 0, events: 0, bytes: 0, duplicates: 0 };
  readonly byTopic = new Map<string, { frames: number; events: number }>();

  constructor(
    private readonly store: LogStore,
    private readonly fanOut: FanOut,
    private readonly held: HeldFrames,
  ) {}

  /**
   * Throws invalid_argument for a broken frame, failed_precondition for one
   * that overlaps or is of too early an epoch. `signal` ends with the session.
   */
  accept(node: string, epochMin: number, frameBytes: Buffer, signal: AbortSignal): Accepted {
    const frame = decodeFrame(frameBytes);
    const { topic, coveredTo } = frame;
    if (!Object.hasOwn(TOPICS, topic)) {
      throw new BackplaneError('invalid_argument', `frame: unknown topic ${JSON.stringify(topic.slice(0, 40))}`);
    }
    if (coveredTo.epoch < epochMin) {
      throw new BackplaneError(
        'failed_precondition',
        `frame: epoch must be at least ${epochMin}, got ${coveredTo.epoch}`,
      );
    }
    const log = this.store.of(topic, node);
    const covered = log.coveredTo(node);
    if (covered && comparePositions(coveredTo, covered) <= 0) {
      this.totals.duplicates++;
      return { topic, coveredTo, durable: this.promised(log, log.settled()), held: false };
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
      return { topic, coveredTo, durable: append(), held: false };
    } catch (cause) {
      if (!isDiskTrouble(cause)) throw cause;
      const durable = this.held.hold(log, cause, { bytes: frameBytes.length, append, signal });
      return { topic, coveredTo, durable, held: true };
    }
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
