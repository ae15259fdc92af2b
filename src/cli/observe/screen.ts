/**
 * The output of a command: results on stdout, notices and a status line on stderr. It waits for a slow reader of
 * stdout, so that nothing is buffered without bound, and keeps the status line below the printed text. A reader that
 * has gone (`| head`) ends the command quietly; one that does not read does not keep an interrupted command from ending.
 */
import type { Writable } from 'node:stream';
import { OUTPUT_STALLED_MS } from '../../limits.js';
import { type Paint, takesEscapes } from '../render/palette.js';
import { safeText } from '../render/text.js';

type Terminal = Writable & { readonly isTTY?: boolean; readonly columns?: number };

const STATUS_INTERVAL_MS = 100;
const CLEAR_LINE = '\r\x1b[2K';

export class Screen {
  readonly #out: Terminal;
  readonly #err: Terminal;
  readonly #escapes: boolean;
  readonly #gone = new AbortController();
  #status = '';
  #statusShown = false;
  #statusTimer: NodeJS.Timeout | undefined;
  #waiting: (() => void) | undefined;
  /** Resolves when the reader is waited for no longer. */
  readonly #over: Promise<false>;
  #giveUp!: () => void;
  #waits = true;

  /** `escapes`: whether stderr takes escape sequences; without them there is no status line. */
  constructor(out: Terminal, err: Terminal, escapes = takesEscapes(err, process.env)) {
    this.#out = out;
    this.#err = err;
    this.#escapes = escapes;
    this.#over = new Promise((resolve) => {
      this.#giveUp = () => resolve(false);
    });
    out.on('error', () => this.#lose());
    out.on('drain', () => this.#release());
    // Nobody can read the error then, so it is no reason to fail.
    err.on('error', () => {});
  }

  /** Aborted when stdout takes no more. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** OUTPUT_STALLED_MS after `interrupted` the reader is waited for no longer. */
  endsBy(interrupted: AbortSignal): void {
    const begin = () => setTimeout(() => this.#stopWaiting(), OUTPUT_STALLED_MS);
    if (interrupted.aborted) begin();
    else interrupted.addEventListener('abort', begin, { once: true });
  }

  /** Whether stdout has taken all that was printed. One that failed has nothing left to take, either. */
  get idle(): boolean {
    return this.#out.writableLength === 0 && !this.#gone.signal.aborted;
  }

  /** Resolves with true when stdout has taken all that was printed, with false when its reader is waited for no longer. */
  taken(): Promise<boolean> {
    if (this.idle) return Promise.resolve(true);
    if (this.#gone.signal.aborted) return Promise.resolve(false);
    const taken = new Promise<boolean>((resolve) => {
      this.#out.write('', (failure) => resolve(!failure));
    });
    return Promise.race([taken, this.#over]);
  }

  /** Resolves when there is room for more; at once when the reader has gone, or is waited for no longer. */
  async print(text: string): Promise<void> {
    if (text === '' || this.#gone.signal.aborted) return;
    this.#clearStatus();
    if (this.#out.write(text) || !this.#waits) return;
    await new Promise<void>((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Prints `-- text` as one line on stderr. The text may contain data from events. */
  notice(text: string, paint: Paint = (plain) => plain): void {
    this.#clearStatus();
    this.#err.write(`${paint(`-- ${safeText(text)}`)}\n`);
  }

  /** The line shown while something takes long: on a terminal only, at most ten times a second. '' removes it. */
  status(text: string): void {
    if (!this.#escapes) return;
    this.#status = text;
    if (text === '') {
      clearTimeout(this.#statusTimer);
      this.#statusTimer = undefined;
      this.#clearStatus();
    } else {
      this.#statusTimer ??= setTimeout(() => this.#showStatus(), STATUS_INTERVAL_MS).unref();
    }
  }

  #showStatus(): void {
    this.#statusTimer = undefined;
    if (this.#status === '') return;
    // One column is left free: a full line wraps, and could not be cleared.
    const line = safeText(this.#status).slice(0, Math.max(0, (this.#err.columns ?? 80) - 1));
    this.#err.write(`${CLEAR_LINE}${line}`);
    this.#statusShown = true;
  }

  #clearStatus(): void {
    if (!this.#statusShown) return;
    this.#statusShown = false;
    this.#err.write(CLEAR_LINE);
  }

  #stopWaiting(): void {
    this.#waits = false;
    this.#giveUp();
    this.#release();
  }

  #lose(): void {
    this.#gone.abort();
    this.#release();
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }
}
