/** Tasks that must not run into each other, as each begins with what the one before it left. */
export class OneAtATime {
  #last: Promise<unknown> | undefined;

  /** Nothing is under way. */
  get idle(): boolean {
    return this.#last === undefined;
  }

  /** Runs it at once where nothing is under way, else behind what was given before, whatever became of that. */
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
