/** Commits for a group's member what has been printed: once a second, and when a slice goes to another member. */
import type { SubscribeItem } from '../../client/subscribe-item.js';
import { asBackplaneError } from '../../errors.js';
import { OBSERVE_COMMIT_INTERVAL_MS } from '../../limits.js';
import type { CommitRequest } from '../../wire/messages.js';

interface Held {
  readonly epoch: string;
  /** Of what was printed last; empty before the first. */
  cursor: string;
  committed: string;
}

interface Due {
  readonly slice: number;
  readonly held: Held;
  readonly cursor: string;
}

export class GroupCommits {
  readonly #client: { commit(request: CommitRequest): Promise<void> };
  readonly #group: string;
  readonly #output: { flush(): Promise<boolean> };
  readonly #notice: (text: string) => void;
  readonly #slices = new Map<number, Held>();
  readonly #timer: NodeJS.Timeout;
  #committing: Promise<void> = Promise.resolve();

  constructor(
    client: { commit(request: CommitRequest): Promise<void> },
    group: string,
    output: { flush(): Promise<boolean> },
    notice: (text: string) => void,
  ) {
    this.#client = client;
    this.#group = group;
    this.#output = output;
    this.#notice = notice;
    this.#timer = setInterval(() => void this.commit(), OBSERVE_COMMIT_INTERVAL_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** The item was shown; resolves when what must be committed at once is. */
  async shown(item: SubscribeItem): Promise<void> {
    if (item.kind === 'link') this.#slices.clear();
    else if (item.kind === 'events') this.#reached(item.batch.slice, item.batch.cursor);
    else if (item.kind === 'watermark') this.#reached(item.watermark.slice, item.watermark.cursor);
    else if (item.kind === 'coverage') this.#reached(item.coverage.slice, item.coverage.cursor);
    else if (item.kind === 'group') {
      const { assigned, revoking } = item.group;
      if (assigned) this.#slices.set(assigned.slice, { epoch: assigned.epoch, cursor: '', committed: '' });
      if (revoking) {
        await this.commit();
        this.#slices.delete(revoking.slice);
      }
    }
  }

  /** Commits what is printed, where stdout takes it. Never rejects. */
  commit(): Promise<void> {
    this.#committing = this.#committing.then(() => this.#commitDue());
    return this.#committing;
  }

  #reached(slice: number, cursor: string): void {
    const held = this.#slices.get(slice);
    if (held !== undefined && cursor !== '') held.cursor = cursor;
  }

  async #commitDue(): Promise<void> {
    const due = [...this.#slices].flatMap(([slice, held]): Due[] => {
      const { cursor, committed } = held;
      return cursor === '' || cursor === committed ? [] : [{ slice, held, cursor }];
    });
    if (due.length === 0) return;
    if (!(await this.#output.flush())) return;
    if (await this.#send(due)) return;
    // One of them is fenced, and none is committed: each by itself.
    for (const each of due) if (!(await this.#send([each]))) this.#forget(each);
  }

  /** False when a slice is fenced. A broker that is away is asked again later. */
  async #send(due: readonly Due[]): Promise<boolean> {
    const slices = due.map(({ slice, held: { epoch }, cursor }) => ({ slice, epoch, cursor }));
    try {
      await this.#client.commit({ group: this.#group, slices });
      for (const { held, cursor } of due) held.committed = cursor;
      return true;
    } catch (cause) {
      const { code, message } = asBackplaneError(cause);
      if (code === 'fenced') return false;
      if (code !== 'unavailable') this.#notice(`not committed: ${message}`);
      return true;
    }
  }

  #forget({ slice, held }: Due): void {
    if (this.#slices.get(slice) === held) this.#slices.delete(slice);
  }
}
