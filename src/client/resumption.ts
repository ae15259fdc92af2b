/**
 * The request that resumes a broken subscription, so that no event is missed or
 * delivered twice: from the last cursor, with the window's ends as they were
 * first resolved, and with what is left of the limit. A replay without `until`
 * ends at the time of the latest request, not of the first.
 */

/** What resuming changes of a request. */
export interface ResumableRequest {
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly last?: number | undefined;
  readonly follow?: boolean | undefined;
  readonly cursor?: string | undefined;
  /** A whole number; 0 for no limit. */
  readonly limit?: unknown;
  /** A member's of a group, which keeps how far it is. */
  readonly group?: unknown;
}

/** What resuming has to know of an item. */
export interface ItemFacts {
  readonly kind: 'accepted' | 'events' | 'coverage' | 'other';
  /** Resumes behind the item; empty where nothing does. */
  readonly cursor: string;
  /** Number of its events. */
  readonly events?: number;
  /** Of a slice that a group's member is given. */
  readonly assigned?: { readonly slice: number; readonly epoch: string };
  /** accepted: the window's ends, as RFC 3339; empty where it has none. */
  readonly since?: string;
  readonly until?: string;
}

export class Resumption<Request extends ResumableRequest> {
  readonly #first: Request;
  /** Maximum number of events; 0n for no limit. */
  readonly #limit: bigint;
  #accepted = false;
  #covered = false;
  #delivered = 0n;
  #cursor: string;
  #since: string;
  #until: string;
  /** Of a group's member: the last epoch of each slice that it had. */
  readonly #had = new Map<number, string>();

  constructor(request: Request) {
    this.#first = request;
    this.#limit = BigInt(String(request.limit ?? 0));
    this.#cursor = request.cursor ?? '';
    this.#since = request.since ?? '';
    this.#until = request.until ?? '';
  }

  /** A broker has accepted the subscription. */
  get accepted(): boolean {
    return this.#accepted;
  }

  /** Whether all that was asked for has arrived. Then nothing is left to resume, even if the stream broke. */
  get complete(): boolean {
    if (this.#limit > 0n && this.#delivered >= this.#limit) return true;
    return this.#first.follow !== true && this.#covered;
  }

  /** Whether a stream that ended without an error reached the subscription's own end and was not cut off. */
  get finished(): boolean {
    return this.complete || (this.#first.follow === true && this.#until !== '');
  }

  /** The request for the next broker. */
  request(): Request {
    // A group keeps its members' places by itself, and gives its slices back to one whose broker died.
    if (this.#first.group) {
      if (this.#had.size === 0) return this.#first;
      const had = Array.from(this.#had, ([slice, epoch]) => ({ slice, epoch }));
      return { ...this.#first, group: { ...this.#first.group, had } };
    }
    const request = { ...this.#first, until: this.#until, limit: String(this.#limitLeft()) };
    if (this.#cursor === '') return { ...request, since: this.#since };
    // The cursor replaces the window's start, and since or last would contradict it.
    return { ...request, cursor: this.#cursor, since: '', last: 0 };
  }

  saw({ kind, cursor, events = 0, assigned, since, until }: ItemFacts): void {
    if (assigned !== undefined) this.#had.set(assigned.slice, assigned.epoch);
    if (kind === 'accepted') this.#accepted = true;
    if (kind === 'coverage') this.#covered = true;
    this.#delivered += BigInt(events);
    this.#cursor = cursor || this.#cursor;
    // A relative time such as "5m" would give another window at the next broker.
    this.#since = since || this.#since;
    this.#until = until || this.#until;
  }

  #limitLeft(): bigint {
    // The rest never becomes 0, which would mean no limit: a used-up limit finishes the subscription before.
    return this.#limit === 0n ? 0n : this.#limit - this.#delivered;
  }
}
