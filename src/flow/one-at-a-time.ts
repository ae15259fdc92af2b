/** Runs tasks one after another, because each begins with the state that the one before it left. */
export class OneAtATime {
  #last: Promise<unknown> | undefined;

  /** True when no task is running. */
  get idle(): boolean {
    return this.#last === undefined;
  }

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
