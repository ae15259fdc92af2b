/**
 * Frames that the log could not take, because its disk is full or fails. Each
 * is kept while its sender waits, tried again every second, and only then
 * acknowledged: at most one for each live stream, which is not read on. What a
 * session holds goes with it: the agent's recorder has it.
 *
 * A log whose sync has failed takes nothing until the broker is started again:
 * after such a failure nobody can tell what the disk has.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { LOG_RETRY_MS } from '../../limits.js';
import type { PartitionLog } from '../log/partition-log.js';

interface HeldFrame {
  readonly bytes: number;
  /** Resolves when the frame is durable; rejects when the log still refuses. */
  readonly append: () => Promise<void>;
  /** Fires when nobody waits for it any more. */
  readonly signal: AbortSignal;
}

interface Waiting extends HeldFrame {
  readonly settle: () => void;
}

export type LogTrouble = { readonly kind: 'refusing'; readonly reason: string } | { readonly kind: 'over' };

/** What a log refuses with when it is its disk's fault. */
export function isDiskTrouble(cause: unknown): cause is BackplaneError {
  return cause instanceof BackplaneError && (cause.code === 'resource_exhausted' || cause.code === 'unavailable');
}

export class HeldFrames {
  /** Of all frames held. */
  bytes = 0;
  /** Set while a log refuses: why, in a sentence. */
  trouble: string | undefined;
  /** Logs that refuse. */
  private readonly waiting = new Map<PartitionLog, Set<Waiting>>();
  private timer: NodeJS.Timeout | undefined;
  private retrying = false;

  /** @param tell called once when a log begins to refuse, and once when all take frames again */
  constructor(private readonly tell: (trouble: LogTrouble) => void) {}

  get count(): number {
    let count = 0;
    for (const frames of this.waiting.values()) count += frames.size;
    return count;
  }

  /** Resolves when the frame is durable; rejects with cancelled when its signal fires first. */
  hold(log: PartitionLog, cause: unknown, frame: HeldFrame): Promise<void> {
    const frames = this.refused(log, cause);
    return new Promise((resolve, reject) => {
      const dropped = () => {
        if (remove()) reject(new BackplaneError('cancelled', 'the session has ended'));
      };
      const waiting: Waiting = {
        ...frame,
        settle: () => {
          remove();
          resolve();
        },
      };
      const remove = () => {
        frame.signal.removeEventListener('abort', dropped);
        if (!frames.delete(waiting)) return false;
        this.bytes -= frame.bytes;
        return true;
      };
      frames.add(waiting);
      this.bytes += frame.bytes;
      frame.signal.addEventListener('abort', dropped, { once: true });
      if (frame.signal.aborted) dropped();
    });
  }

  /** A log refuses. Returns what waits for it. */
  refused(log: PartitionLog, cause: unknown): Set<Waiting> {
    const before = this.trouble;
    this.trouble = asBackplaneError(cause).message;
    if (before === undefined) this.tell({ kind: 'refusing', reason: this.trouble });
    this.timer ??= setInterval(() => void this.retry(), LOG_RETRY_MS).unref();
    let frames = this.waiting.get(log);
    if (frames === undefined) {
      frames = new Set();
      this.waiting.set(log, frames);
    }
    return frames;
  }

  close(): void {
    clearInterval(this.timer);
  }

  private async retry(): Promise<void> {
    if (this.retrying) return;
    this.retrying = true;
    await Promise.all([...this.waiting].map(([log, frames]) => this.retryLog(log, frames)));
    this.retrying = false;
    if (this.waiting.size > 0 || this.timer === undefined) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.trouble = undefined;
    this.tell({ kind: 'over' });
  }

  private async retryLog(log: PartitionLog, frames: ReadonlySet<Waiting>): Promise<void> {
    try {
      // Nobody waits any more: only the log itself can tell whether it is over.
      if (frames.size === 0) await log.probe();
      await Promise.all([...frames].map((frame) => frame.append().then(frame.settle)));
      if (frames.size === 0) this.waiting.delete(log);
    } catch (cause) {
      this.trouble = asBackplaneError(cause).message;
    }
  }
}
