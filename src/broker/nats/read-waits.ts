/** Who waits until a stream was read up to a sequence. */
import { BackplaneError } from '../../errors.js';

interface Waiting {
  readonly sequence: number;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (cause: BackplaneError) => void;
}

/** Deadlines are looked at so often. */
const DEADLINE_STEP_MS = 250;

export class ReadWaits {
  /** In the order of their sequences. */
  #waiting: Waiting[] = [];
  #deadlines: NodeJS.Timeout | undefined;
  readonly #trouble: () => string | undefined;

  /** @param trouble why nothing is read, in a sentence */
  constructor(trouble: () => string | undefined) {
    this.#trouble = trouble;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Resolves once a sequence was read; rejects with unavailable at a deadline of performance.now(). */
  until(sequence: number, deadlineMs = Number.POSITIVE_INFINITY): Promise<void> {
    return new Promise((resolve, reject) => {
      let at = this.#waiting.length;
      while (at > 0 && this.#waiting[at - 1]!.sequence > sequence) at--;
      this.#waiting.splice(at, 0, { sequence, deadlineMs, resolve, reject });
      this.#deadlines ??= setTimeout(() => this.#expire(), DEADLINE_STEP_MS);
    });
  }

  /** All below `next` was read. */
  settle(next: number): void {
    let read = 0;
    while (read < this.#waiting.length && this.#waiting[read]!.sequence < next) this.#waiting[read++]!.resolve();
    if (read > 0) this.#waiting.splice(0, read);
  }

  /** Nobody waits any more. */
  refuse(cause: BackplaneError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(cause);
  }

  #expire(): void {
    this.#deadlines = undefined;
    const nowMs = performance.now();
    const late = this.#waiting.filter(({ deadlineMs }) => deadlineMs < nowMs);
    if (late.length > 0) this.#waiting = this.#waiting.filter(({ deadlineMs }) => deadlineMs >= nowMs);
    const cause = new BackplaneError('unavailable', this.#trouble() ?? 'NATS does not tell what it has stored');
    for (const { reject } of late) reject(cause);
    if (this.#waiting.length > 0) this.#deadlines = setTimeout(() => this.#expire(), DEADLINE_STEP_MS);
  }
}
