/** Runs tasks one after another, because each begins with the state that the one before it left. */
export class OneAtATime {
  #last: Promise<unknown> | undefined;

  /** Runs the task at once if none is running, else after all earlier ones, even if those fail. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last === undefined ? task() : this.#last.then(task, task);
    this.#last = turn;
    const over = () => {
      if (this.#last === turn) this.#last = undefined;
    };
    turn.then(over, over);
    return turn;
  }
}

/** Runs tasks of the same key one after another, and those of different keys beside each other. */
export class Lanes {
  /** The last task of each key that has one. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** See OneAtATime.run. */
  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const turn = before === undefined ? task() : before.then(task, task);
    this.#last.set(key, turn);
    const over = () => {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    };
    turn.then(over, over);
    return turn;
  }

  /** Resolves when all tasks that are there now are over, also those that fail. @param keys all of them by default */
  async settled(keys: Iterable<string> = this.#last.keys()): Promise<void> {
    const busy = [...keys].filter((key) => this.#last.has(key));
    await Promise.all(busy.map((key) => this.run(key, async () => undefined)));
  }
}

/** A task that many ask for, and that is run once for all who asked before it began. */
export class ForAll<T> {
  readonly #task: () => Promise<T>;
  readonly #turns = new OneAtATime();
  /** The run that has not begun. */
  #next: Promise<T> | undefined;

  constructor(task: () => Promise<T>) {
    this.#task = task;
  }

  /** A run that begins after this call. */
  run(): Promise<T> {
    if (this.#next !== undefined) return this.#next;
    let hasBegun = false;
    const run = this.#turns.run(() => {
      hasBegun = true;
      this.#next = undefined;
      return this.#task();
    });
    if (!hasBegun) this.#next = run;
    return run;
  }
}
