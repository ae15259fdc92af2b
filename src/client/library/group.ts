/** Members of a group, which share the nodes of one subscription and commit how far they have got. Runs in browsers. */
import type { BackplaneEvent, Gap, SubscribeRequest } from '../../wire/typed/messages.js';
import { checkOpen, closable } from './closable.js';
import type { BatchItem, Subscription } from './items.js';

/** How a member joins. */
export interface GroupOptions {
  /**
   * A name that keeps the member's slices for it while its connection is broken. One member at a time has it. Without one
   * what the member has goes to others at once.
   */
  readonly member?: string | undefined;
  /** 8, 16, 32 or 64: at most so many members are active. Fixed when the group is made; then 16 unless given. */
  readonly slices?: number | undefined;
}

/** What a group subscribes to; later members ask for the same, or for nothing. */
export type GroupSubscription = Omit<
  Subscription,
  'cursor' | 'follow' | 'last' | 'limit' | 'throttle' | 'throttleBy' | 'until'
>;

/** Events of one node and topic that came together, in position order. */
export interface GroupBatch {
  readonly node: string;
  readonly topic: string;
  readonly history: boolean;
  readonly refill: boolean;
  readonly events: readonly BackplaneEvent[];
  /** Stretches before them that did not come. A batch may have nothing else. */
  readonly gaps: readonly Gap[];
  /** The share of the group's nodes that this one is in. */
  readonly slice: number;
  /**
   * States that these events, and all before them of the slice, were processed. Durable when it resolves.
   * @throws BackplaneError fenced: another member has the slice by now, and gets the events again
   */
  commit(): Promise<void>;
}

export interface Group {
  readonly name: string;
  /**
   * Joins, and iterates what this member is given. What is not committed comes again, to this member or to another: after
   * a break of the connection, or when the loop is left. An aborted signal ends the loop without an error.
   */
  batches(subscription?: GroupSubscription): AsyncIterable<GroupBatch>;
}

/** Of one slice, as CommitRequest has it. */
export interface SliceCommit {
  readonly slice: number;
  readonly epoch: bigint;
  readonly cursor: string;
}

/** How a group reaches its broker. */
export interface GroupCarrier {
  stream(request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<BatchItem, void, undefined>;
  commit(group: string, slices: readonly SliceCommit[]): Promise<void>;
}

export class CarriedGroup implements Group {
  readonly name: string;
  readonly #carrier: GroupCarrier;
  readonly #options: GroupOptions;
  readonly #closing: AbortSignal;
  readonly #requestOf: (subscription: Subscription) => SubscribeRequest;

  constructor(
    name: string,
    options: GroupOptions,
    carrier: GroupCarrier,
    closing: AbortSignal,
    requestOf: (subscription: Subscription) => SubscribeRequest,
  ) {
    this.name = name;
    this.#options = options;
    this.#carrier = carrier;
    this.#closing = closing;
    this.#requestOf = requestOf;
  }

  batches(subscription: GroupSubscription = {}): AsyncGenerator<GroupBatch, void, undefined> {
    const group = { name: this.name, ...this.#options };
    const request = { ...this.#requestOf(subscription), follow: true, group };
    const commit = async (commits: readonly SliceCommit[]) => {
      checkOpen(this.#closing);
      await this.#carrier.commit(this.name, commits);
    };
    const open = (signal: AbortSignal) => {
      checkOpen(this.#closing);
      return this.#carrier.stream(request, signal);
    };
    const form = (items: AsyncIterable<BatchItem>) => batchesOf(items, new Slices(commit));
    return closable(open, form, subscription.signal, this.#closing);
  }
}

async function* batchesOf(
  items: AsyncIterable<BatchItem>,
  slices: Slices,
): AsyncGenerator<GroupBatch, void, undefined> {
  for await (const item of items) {
    const batch = slices.saw(item);
    if (batch !== undefined) yield batch;
  }
}

/** What a member knows of the slices that it has. */
class Slices {
  readonly #commit: (slices: readonly SliceCommit[]) => Promise<void>;
  readonly #epochs = new Map<number, bigint>();
  #gaps = new Map<number, Gap[]>();

  constructor(commit: (slices: readonly SliceCommit[]) => Promise<void>) {
    this.#commit = commit;
  }

  /** The batch that the item makes: events, or gaps behind which a cursor came. */
  saw(item: BatchItem): GroupBatch | undefined {
    switch (item.kind) {
      case 'accepted':
        // Of a new stream: slices are assigned anew, and what was not committed is told again.
        this.#gaps = new Map();
        return undefined;
      case 'group':
        if (item.group.assigned !== undefined) {
          this.#epochs.set(item.group.assigned.slice, item.group.assigned.epoch);
          this.#gaps.delete(item.group.assigned.slice);
        }
        return undefined;
      case 'gap':
        this.#gaps.set(item.gap.slice, [...(this.#gaps.get(item.gap.slice) ?? []), item.gap]);
        return undefined;
      case 'events':
        return this.#batch(item, item.slice, item.cursor);
      case 'watermark':
        return this.#gapsBefore(item.watermark.slice, item.watermark.cursor);
      case 'coverage':
        return this.#gapsBefore(item.coverage.slice, item.coverage.cursor);
      default:
        return undefined;
    }
  }

  #gapsBefore(slice: number, cursor: string): GroupBatch | undefined {
    if (!this.#gaps.has(slice)) return undefined;
    const nothing = { node: '', topic: '', history: false, refill: false, events: [] };
    return this.#batch(nothing, slice, cursor);
  }

  #batch(
    { node, topic, history, refill, events }: Omit<GroupBatch, 'gaps' | 'slice' | 'commit'>,
    slice: number,
    cursor: string,
  ): GroupBatch {
    const gaps = this.#gaps.get(slice) ?? [];
    this.#gaps.delete(slice);
    const epoch = this.#epochs.get(slice) ?? 0n;
    const commit = () => this.#commit([{ slice, epoch, cursor }]);
    return { node, topic, history, refill, events, gaps, slice, commit };
  }
}
