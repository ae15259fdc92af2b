/** What a feed tells, as closed unions. Runs in browsers. */
import type { BackplaneError } from '../../errors.js';
import { timeText } from '../../wire/typed/json-values.js';
import type {
  Accepted,
  BackplaneEvent,
  Coverage,
  Gap,
  GroupEvent,
  Ledger,
  NodeStatus,
  SubscribeRequest,
  Watermark,
} from '../../wire/typed/messages.js';
import type { ItemFacts } from '../resumption.js';

/** What is asked of a broker. Nothing given: the last 20 events. */
export interface Subscription extends Omit<SubscribeRequest, 'since' | 'until' | 'group'> {
  /** The window's start: how long ago (`5m`), RFC 3339, or a Date. See SubscribeRequest of the protos. */
  readonly since?: string | Date | undefined;
  /** The window's end, in the same forms. */
  readonly until?: string | Date | undefined;
  /** Ends the feed without an error; what was read stands in its cursor. */
  readonly signal?: AbortSignal | undefined;
}

/** What stands beside one event, or beside those that came together. */
interface Origin {
  readonly node: string;
  readonly topic: string;
  /** From a recorder, not live. */
  readonly history: boolean;
  /** The events were stated as a gap before ("shed", "skipped"), and come later. */
  readonly refill: boolean;
}

export interface EventItem extends Origin {
  readonly kind: 'event';
  readonly event: BackplaneEvent;
  /** Ids of the selectors that it matches; none for a subscription without selectors. */
  readonly selectors: readonly string[];
  /** Resumes behind this event; only the last one of those that came together has one, the others have ''. */
  readonly cursor: string;
}

/** Events of one node and topic that came together, in position order. */
export interface EventsItem extends Origin {
  readonly kind: 'events';
  readonly events: readonly BackplaneEvent[];
  /** By place in `events`, ids of the selectors that the event matches. */
  readonly selectorsOf: (event: number) => readonly string[];
  /** Resumes behind the last of them. */
  readonly cursor: string;
  /** For members of a group. */
  readonly slice: number;
}

/** What is told beside events. */
export type NoticeItem =
  /** First of every stream; comes again after a break. `cluster`: of a feed over several, from each of them. */
  | { readonly kind: 'accepted'; readonly accepted: Accepted; readonly cluster?: string | undefined }
  /** A stretch that the subscriber did not get. */
  | { readonly kind: 'gap'; readonly gap: Gap }
  /** How a node is. */
  | { readonly kind: 'node'; readonly node: NodeStatus }
  /** How far nothing older follows. */
  | { readonly kind: 'watermark'; readonly watermark: Watermark }
  /** What each node really had of the past, with the account of the subscription so far. */
  | { readonly kind: 'coverage'; readonly coverage: Coverage; readonly ledger: Ledger | undefined }
  /** For members of a group: what becomes of a slice. */
  | { readonly kind: 'group'; readonly group: GroupEvent }
  /** With a cause: the stream broke and is being resumed. Without: it continues at this broker. */
  | {
      readonly kind: 'link';
      /** '' where none of the cluster answers. */
      readonly broker: string;
      readonly cause: BackplaneError | undefined;
      readonly cluster?: string | undefined;
    };

export type FeedItem = EventItem | NoticeItem;
export type BatchItem = EventsItem | NoticeItem;

/** Resumes behind the item; '' where nothing does. */
export function cursorOf(item: BatchItem): string {
  if (item.kind === 'events') return item.cursor;
  if (item.kind === 'watermark') return item.watermark.cursor;
  return item.kind === 'coverage' ? item.coverage.cursor : '';
}

export function batchFacts(item: BatchItem): ItemFacts {
  const cursor = cursorOf(item);
  if (item.kind === 'events') return { kind: 'events', cursor, events: item.events.length };
  if (item.kind === 'coverage') return { kind: 'coverage', cursor };
  if (item.kind === 'group' && item.group.assigned) {
    const { slice, epoch } = item.group.assigned;
    return { kind: 'other', cursor, assigned: { slice, epoch: String(epoch) } };
  }
  if (item.kind !== 'accepted') return { kind: 'other', cursor };
  const { sinceNs, untilNs } = item.accepted;
  return { kind: 'accepted', cursor, since: textOf(sinceNs), until: textOf(untilNs) };
}

function textOf(ns: bigint | undefined): string {
  return ns === undefined ? '' : timeText(ns);
}

/** As brokers take it. */
export function requestOf({ signal: _, since, until, ...rest }: Subscription): SubscribeRequest {
  return { ...rest, since: momentText(since), until: momentText(until) };
}

function momentText(moment: string | Date | undefined): string | undefined {
  return moment instanceof Date ? moment.toISOString() : moment;
}
