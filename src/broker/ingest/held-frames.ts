/**
 * Frames that the log could not take, because its disk is full or fails. Each is
 * appended again every second, and acknowledged only when that succeeds.
 * Meanwhile its live stream is not read, which bounds how many frames are held.
 * Frames of a session that ends are dropped: the agent's recorder has them.
 *
 * A log whose sync has failed takes no frames until the broker is restarted:
 * after a failed sync it is unknown which data the disk holds.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { everyOne } from '../../flow/every-step.js';
import { LOG_RETRY_MS } from '../../limits.js';
import type { PartitionLog } from '../log/partition-log.js';

interface HeldFrame {
  readonly bytes: number;
  /** Resolves when the frame is durable; rejects when the log still refuses. */
  readonly append: () => Promise<void>;
  /** Fires when the sender's session has ended, so that the frame can be dropped. */
  readonly signal: AbortSignal;
}

interface Waiting {
  /** Appends the frame and settles it; rejects when the log still refuses. */
  readonly retry: () => Promise<void>;
}

export type LogTrouble = { readonly kind: 'refusing'; readonly reason: string } | { readonly kind: 'over' };

/** Whether an append failed because of the disk, so that it is worth another try. */
export function isDiskTrouble(cause: unknown): cause is BackplaneError {
  return cause instanceof BackplaneError && (cause.code === 'resource_exhausted' || cause.code === 'unavailable');
}

export class HeldFrames {
  /** Total size of all held frames. */
  bytes = 0;
  /** Why a log refuses frames, in a sentence; undefined while all logs take them. */
  trouble: string | undefined;
  /** Logs that refuse, with the frames held for each; a set may be empty. */
  readonly #waiting = new Map<PartitionLog, Set<Waiting>>();
  #timer: NodeJS.Timeout | undefined;
  #retrying = false;

  readonly #tell: (trouble: LogTrouble) => void;

  /** @param tell called once when a log begins to refuse, and once when all take frames again */
  constructor(tell: (trouble: LogTrouble) => void) {
    this.#tell = tell;
  }

  get count(): number {
    let count = 0;
    for (const frames of this.#waiting.values()) count += frames.size;
    return count;
  }

  /** Resolves when the frame is durable; rejects with cancelled when its signal fires first. */
  hold(log: PartitionLog, cause: unknown, frame: HeldFrame): Promise<void> {
    const frames = this.refused(log, cause);
    return new Promise((resolve, reject) => {
      let appending = false;
      const dropped = () => {
        // An append that is under way may succeed, and until it is known the next session must not be told where the
        // log ends.
        if (!appending && remove()) reject(new BackplaneError('cancelled', 'the session has ended'));
      };
      const waiting: Waiting = {
        retry: async () => {
          appending = true;
          try {
            await frame.append();
            remove();
            resolve();
          } finally {
            appending = false;
            if (frame.signal.aborted) dropped();
          }
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

  /** Notes that a log refuses and starts the retries. Returns the set of frames held for it. */
  refused(log: PartitionLog, cause: unknown): Set<Waiting> {
    const before = this.trouble;
    this.trouble = asBackplaneError(cause).message;
    if (before === undefined) this.#tell({ kind: 'refusing', reason: this.trouble });
    this.#timer ??= setInterval(() => void this.#retry(), LOG_RETRY_MS).unref();
    let frames = this.#waiting.get(log);
    if (frames === undefined) {
      frames = new Set();
      this.#waiting.set(log, frames);
    }
    return frames;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #retry(): Promise<void> {
    if (this.#retrying) return;
    this.#retrying = true;
    await Promise.all([...this.#waiting].map(([log, frames]) => this.#retryLog(log, frames)));
    this.#retrying = false;
    if (this.#waiting.size > 0 || this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.trouble = undefined;
    this.#tell({ kind: 'over' });
  }

  async #retryLog(log: PartitionLog, frames: ReadonlySet<Waiting>): Promise<void> {
    try {
      // Without a held frame there is nothing to append, so a probe tells whether the log works again.
      if (frames.size === 0) await log.probe();
      // All of them must have ended before the next try: a frame whose append is still under way would be appended twice.
      await everyOne([...frames].map((frame) => frame.retry()));
      if (frames.size === 0) this.#waiting.delete(log);
    } catch (cause) {
      this.trouble = asBackplaneError(cause).message;
    }
  }
}
