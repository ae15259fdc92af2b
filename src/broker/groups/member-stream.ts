/**
 * A member's stream, which all of its slices write to, one item at a time, so that the queue in front of a member that
 * does not read holds one encoded item for all of them and not one for each.
 */
import { BackplaneError } from '../../errors.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { SubscribeResponse } from '../../wire/messages.js';
import type { Caller } from '../access/gate.js';
import type { Delivery, Outlet, Sink } from '../delivery/outlet.js';
import type { GroupPresence } from './presence/group-presence.js';
import type { SliceLease } from './slice-lease.js';

export class MemberStream {
  /** Rejects when the stream must end, for whatever reason but the member's own. */
  readonly ended: Promise<never>;
  /** Fires when the member went or the broker drains. */
  readonly signal: AbortSignal;
  #hasFailed = false;
  #fail: (cause: BackplaneError) => void = () => undefined;
  #last: Promise<unknown> = Promise.resolve();
  readonly #sink: Sink;
  /** By slice, what ends the delivery of its events. */
  readonly #slices = new Map<number, AbortController>();
  /** Of the slices that are being delivered. */
  readonly #outlets = new Set<Pick<Outlet, 'ledger' | 'bytes'>>();
  /** What the others gave, that have ended. */
  #before = { events: 0, bytes: 0 };

  constructor(
    sink: Sink,
    readonly caller: Caller,
    /** What the member asked for. */
    readonly asked: CheckedSubscription,
    signal: AbortSignal,
    /** Events are given as long as the other brokers take this one for alive. */
    readonly presence: Pick<GroupPresence, 'isCurrent' | 'whenCurrent'>,
  ) {
    this.#sink = sink;
    this.signal = signal;
    this.ended = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.ended.catch(() => undefined);
  }

  /** Whether nothing more can be given to the member by this stream. */
  get isOver(): boolean {
    return this.#hasFailed || this.signal.aborted;
  }

  /** What the member was given by this stream. */
  get given(): { readonly events: number; readonly bytes: number } {
    let { events, bytes } = this.#before;
    for (const outlet of this.#outlets) {
      events += outlet.ledger.events;
      bytes += outlet.bytes;
    }
    return { events, bytes };
  }

  /** Counts what is given by an outlet; call the returned function when it has ended. */
  counts(outlet: Pick<Outlet, 'ledger' | 'bytes'>): () => void {
    this.#outlets.add(outlet);
    return () => {
      if (!this.#outlets.delete(outlet)) return;
      const { events, bytes } = this.#before;
      this.#before = { events: events + outlet.ledger.events, bytes: bytes + outlet.bytes };
    };
  }

  /** Ends the stream with an error. */
  fail(cause: BackplaneError): void {
    this.#hasFailed = true;
    this.#fail(cause);
    for (const slice of [...this.#slices.keys()]) this.stop(slice);
  }

  /** Resolves when there is room for more; throws cancelled when the member went. */
  write(delivery: Delivery): Promise<void> {
    const written = this.#last.then(() => this.#sink.write(delivery));
    this.#last = written.catch(() => undefined);
    return written;
  }

  /** Without waiting. That the member went is noticed elsewhere. */
  tell(message: SubscribeResponse): void {
    this.write({ kind: 'message', message }).catch(() => undefined);
  }

  /** A sink for the events of one slice, until stop(). */
  begin(lease: SliceLease): SliceSink {
    this.stop(lease.slice);
    const ends = new AbortController();
    this.#slices.set(lease.slice, ends);
    return new SliceSink(this, lease, this.#sink.client, AbortSignal.any([this.signal, ends.signal]));
  }

  /** Nothing more of the slice is written from here on, but for what was given before. */
  stop(slice: number): void {
    this.#slices.get(slice)?.abort();
    this.#slices.delete(slice);
  }
}

/** One slice's part of a member's stream: its items say which slice they are of, and its cursors can be committed. */
class SliceSink implements Sink {
  readonly #stream: MemberStream;
  readonly #lease: SliceLease;

  constructor(
    stream: MemberStream,
    lease: SliceLease,
    readonly client: string,
    readonly closed: AbortSignal,
  ) {
    this.#stream = stream;
    this.#lease = lease;
  }

  async write(delivery: Delivery): Promise<void> {
    const { presence } = this.#stream;
    const isGiven = this.#lease.holdBack();
    if (!presence.isCurrent) await presence.whenCurrent(this.closed);
    if (this.closed.aborted) throw new BackplaneError('cancelled', 'the slice has another member');
    isGiven();
    const marked = delivery.kind === 'batch' ? this.#batch(delivery) : this.#message(delivery.message);
    if (marked !== undefined) await this.#stream.write(marked);
  }

  #batch(delivery: Delivery & { readonly kind: 'batch' }): Delivery {
    const { header } = delivery;
    const { slice } = this.#lease;
    return { ...delivery, header: { ...header, slice, cursor: this.#lease.give(header.cursor, Date.now()) } };
  }

  /** Undefined for what a member is told once, not for each slice. */
  #message(message: SubscribeResponse): Delivery | undefined {
    const { slice } = this.#lease;
    const { accepted, gap, watermark, coverage } = message;
    if (accepted) return undefined;
    if (gap) {
      this.#lease.giveGap();
      return told({ gap: { ...gap, slice } });
    }
    if (watermark) return told({ watermark: { ...watermark, slice, cursor: this.#marked(watermark.cursor) } });
    if (coverage) return told({ coverage: { ...coverage, slice, cursor: this.#marked(coverage.cursor) } });
    return told(message);
  }

  #marked(cursor: string | undefined): string {
    return this.#lease.mark(cursor ?? '');
  }
}

function told(message: SubscribeResponse): Delivery {
  return { kind: 'message', message };
}
