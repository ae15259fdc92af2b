/**
 * Takes frames in: checks them against what the log has, appends, and
 * acknowledges what is durable. Drops what is already covered; refuses what
 * overlaps, because agents never send that.
 */
import { BackplaneError } from '../errors.js';
import { TOPICS } from '../wire/event.js';
import { decodeFrame, type Frame } from '../wire/frame.js';
import { comparePositions, type Position, positionText } from '../wire/position.js';
import type { FanOut } from './fan-out.js';
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
  /** Resolves when the frame may be acknowledged; rejects when the log failed. */
  readonly durable: Promise<void>;
}

export class Ingest {
  readonly totals: IngestCounters = { frames: 0, events: 0, bytes: 0, duplicates: 0 };
  readonly byTopic = new Map<string, { frames: number; events: number }>();

  constructor(
    private readonly store: LogStore,
    private readonly fanOut: FanOut,
  ) {}

  /**
   * Throws invalid_argument for a broken frame, failed_precondition for one
   * that overlaps or is of too early an epoch, resource_exhausted or unavailable when the log
   * cannot take it.
   */
  accept(node: string, epochMin: number, frameBytes: Buffer): Accepted {
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
      return { topic, coveredTo, durable: log.settled() };
    }
    if (covered && comparePositions(frame.coveredFrom, covered) < 0) {
      throw new BackplaneError(
        'failed_precondition',
        `frame: covered_from must not be before ${positionText(covered)}, up to where ${topic} of node ${node} is ` +
          `covered, got ${positionText(frame.coveredFrom)}`,
      );
    }
    return { topic, coveredTo, durable: this.append(log, node, frame, frameBytes) };
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
