/**
 * Where one subscription's items go: counted, limited, and each batch with the
 * cursor that resumes behind it.
 */
import { BackplaneError } from '../../errors.js';
import { cutRuns, type FieldMask } from '../../wire/event/field-mask.js';
import type { BatchHeader, Selection } from '../../wire/frame/splice.js';
import type { SubscribeResponse } from '../../wire/messages.js';
import type { Throttle } from './throttle.js';

export type Delivery =
  | { readonly kind: 'batch'; readonly header: BatchHeader; readonly parts: readonly Buffer[] }
  | { readonly kind: 'message'; readonly message: SubscribeResponse };

/** A stream to a subscriber. */
export interface Sink {
  /** Resolves when there is room again; throws cancelled when the subscriber went. */
  write(delivery: Delivery): Promise<void>;
  readonly closed: AbortSignal;
  /** Who is at its other end, as far as places are shared out between clients. */
  readonly client: string;
}

/** Of one subscription, or of all: every match is delivered, throttled, shed or skipped. */
export interface DeliveryTotals {
  /** Delivered. */
  events: number;
  throttled: number;
  /** Not sent, as nodes were over their budgets, and not refilled yet. */
  shed: number;
  /** Passed over, as the subscriber was too far behind, and not refilled yet. */
  skipped: number;
  /** Of those delivered or throttled: shed or skipped before. */
  refilled: number;
}

export function newTotals(): DeliveryTotals {
  return { events: 0, throttled: 0, shed: 0, skipped: 0, refilled: 0 };
}

/** What a number of matches came to. */
type Count = Partial<DeliveryTotals>;

export class Outlet {
  readonly ledger = newTotals();
  bytes = 0;
  #takeGaps: () => readonly SubscribeResponse[] = () => [];
  /** A gap was told, and no cursor since: only with one has the subscriber had it. */
  gapsOpen = false;

  constructor(
    private readonly sink: Sink,
    /** 0: no limit. */
    private readonly limit: number,
    /** What of each event is asked for: frames have what any subscription asks. Undefined: all. */
    private readonly mask: FieldMask | undefined,
    /** Of all subscriptions. */
    private readonly totals: DeliveryTotals,
    private readonly throttle: Throttle | undefined,
  ) {}

  /**
   * @param takeGaps returns the gap notices that must precede any cursor; otherwise a subscriber could resume behind a gap
   *   that it never saw
   */
  precededBy(takeGaps: () => readonly SubscribeResponse[]): void {
    this.#takeGaps = takeGaps;
  }

  get client(): string {
    return this.sink.client;
  }

  /** What may refuse events of the node and topic; undefined: all are delivered. */
  admit(node: string, topic: string): ((element: Buffer) => boolean) | undefined {
    const { throttle } = this;
    if (throttle === undefined) return undefined;
    return (element) => {
      try {
        return throttle.admits(node, topic, element);
      } catch (cause) {
        // What is no event is for the subscriber to refuse.
        if (cause instanceof BackplaneError) return true;
        throw cause;
      }
    };
  }

  /** How many events may still be delivered. */
  get left(): number {
    return this.limit === 0 ? Number.MAX_SAFE_INTEGER : this.limit - this.ledger.events;
  }

  count(count: Count): void {
    for (const [kind, events] of Object.entries(count) as [keyof DeliveryTotals, number][]) {
      this.ledger[kind] += events;
      this.totals[kind] += events;
    }
  }

  async batch(header: BatchHeader, selection: Selection): Promise<void> {
    this.count({ events: selection.count });
    const { mask } = this;
    const parts = mask === undefined ? selection.parts : selection.parts.map((part) => cut(part, mask));
    for (const part of parts) this.bytes += part.length;
    await this.write({ kind: 'batch', header, parts });
  }

  async message(message: SubscribeResponse): Promise<void> {
    await this.write({ kind: 'message', message });
  }

  /** Tells what is due, where nothing else follows. */
  async gaps(): Promise<void> {
    await Promise.all(this.writeAhead());
  }

  private async write(delivery: Delivery): Promise<void> {
    const ahead = this.writeAhead();
    const { gap, watermark, coverage } = delivery.kind === 'message' ? delivery.message : {};
    if (gap) this.gapsOpen = true;
    else if (delivery.kind === 'batch' || watermark || coverage) this.gapsOpen = false;
    await Promise.all([...ahead, this.sink.write(delivery)]);
  }

  /** Handed over at once and waited for later: nobody else's cursor comes in between. */
  private writeAhead(): Promise<void>[] {
    const gaps = this.#takeGaps();
    if (gaps.length > 0) this.gapsOpen = true;
    return gaps.map((message) => this.sink.write({ kind: 'message', message }));
  }
}

/** What is no event is for the subscriber to refuse, as without a mask: nodes are not trusted, and others go on. */
function cut(part: Buffer, mask: FieldMask): Buffer {
  try {
    return cutRuns(part, mask);
  } catch (cause) {
    if (cause instanceof BackplaneError) return part;
    throw cause;
  }
}
