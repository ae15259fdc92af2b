/** Does something again and again, for some time after it was last wanted. */
export class Repeats {
  #timer: NodeJS.Timeout | undefined;
  #untilMs = 0;
  #stopped = false;

  readonly #run: () => void;
  readonly #everyMs: number;
  readonly #forMs: number;

  /** `run` is given up, until it is wanted again, where it throws: it must be what somebody else does, too, and tells. */
  constructor(run: () => void, everyMs: number, forMs: number) {
    this.#run = run;
    this.#everyMs = everyMs;
    this.#forMs = forMs;
  }

  want(): void {
    if (this.#stopped) return;
    this.#untilMs = performance.now() + this.#forMs;
    this.#timer ??= setInterval(() => this.#turn(), this.#everyMs).unref();
  }

  stop(): void {
    this.#stopped = true;
    this.#rest();
  }

  #turn(): void {
    try {
      if (performance.now() < this.#untilMs) this.#run();
      else this.#rest();
    } catch {
      this.#rest();
    }
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
