/**
 * Small values by key on which all brokers of a cluster agree: what is asked of nodes, which nodes are known, their
 * budgets. Every change of any key takes the next revision, so that all brokers see all changes in one order.
 */

/** JSON, as parsed. */
export type StateValue = { readonly [field: string]: unknown };

export interface StateEntry {
  readonly key: string;
  readonly value: StateValue;
  /** Of the entry's latest change; above 0. */
  readonly revision: number;
}

/** An entry as it is from this revision on; without a value it was deleted. */
export interface StateChange {
  readonly key: string;
  readonly value: StateValue | undefined;
  readonly revision: number;
}

export interface SharedState {
  /** Where a person finds it, for messages. */
  readonly place: string;

  /** Grows when it went back in time, before that is told: what was said in an earlier one counts from lost revisions. */
  readonly epoch: number;

  /** The time, milliseconds since 1970, by one clock for all who share it: late by what is not read yet. */
  timeMs(): number;

  /** The entry, as durable and as far as this broker has read; includes every change of its own that resolved. */
  get(key: string): StateEntry | undefined;

  /**
   * Whether there is an entry that a broker of another version wrote, and that this one cannot read. For get(), entries()
   * and watch() it is not there; put() and delete() at a revision reject with unavailable.
   */
  isUnreadable(key: string): boolean;

  /** All entries whose key begins with `prefix`, in the order of their revisions. */
  entries(prefix: string): StateEntry[];

  /**
   * Resolves with the new revision, once the change is durable and can be read here. `expected` is the revision that the
   * entry must still have (0: there must be none); rejects with failed_precondition when it has another. Rejects with
   * the system's error when nothing can be written; the entry is then as it was.
   */
  put(key: string, value: StateValue, expected?: number): Promise<number>;

  /** Like put(); deleting what is not there resolves with the latest revision. */
  delete(key: string, expected?: number): Promise<number>;

  /**
   * Calls `listener` with the entries whose key begins with `prefix`, before it returns, and from then on with every
   * change, in the order of the revisions. Changes of one entry that follow each other may arrive as the last of them.
   * @returns a function that ends it
   */
  watch(prefix: string, listener: (change: StateChange) => void): () => void;
}
