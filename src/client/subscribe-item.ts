/** The items of a subscription's stream, as a closed union. */
import type { BackplaneError } from '../errors.js';
import { timestampText } from '../subscriptions/timestamp.js';
import type {
  Accepted,
  Coverage,
  Gap__Output as Gap,
  GroupEvent,
  SubscribeResponse__Output as SubscribeResponse,
} from '../wire/messages.js';
import type { ReceivedBatch } from '../wire/received-batch.js';
import type { ItemFacts } from './resumption.js';

export type NodeStatus = NonNullable<SubscribeResponse['nodeStatus']>;
type Watermark = NonNullable<SubscribeResponse['watermark']>;

export type SubscribeItem =
  /** `cluster`: of a subscription over several. */
  | { readonly kind: 'accepted'; readonly accepted: Accepted; readonly cluster?: string | undefined }
  | { readonly kind: 'events'; readonly batch: ReceivedBatch }
  | { readonly kind: 'gap'; readonly gap: Gap }
  | { readonly kind: 'node_status'; readonly status: NodeStatus }
  | { readonly kind: 'watermark'; readonly watermark: Watermark }
  | { readonly kind: 'coverage'; readonly coverage: Coverage }
  /** For a member of a group: a slice is given to it, or taken. */
  | { readonly kind: 'group'; readonly group: GroupEvent }
  /** With a cause: the stream broke and is being resumed. Without: it continues at this broker. */
  | {
      readonly kind: 'link';
      /** '' where none of the cluster answers. */
      readonly broker: string;
      readonly cause: BackplaneError | undefined;
      readonly cluster?: string | undefined;
    };

/** Undefined for a message of a newer broker that this client does not know. */
export function subscribeItem(response: SubscribeResponse): SubscribeItem | undefined {
  // A client's stream decodes batches as these (rpc.ts).
  if (response.events) return { kind: 'events', batch: response.events as ReceivedBatch };
  if (response.accepted) return { kind: 'accepted', accepted: response.accepted };
  if (response.gap) return { kind: 'gap', gap: response.gap };
  if (response.nodeStatus) return { kind: 'node_status', status: response.nodeStatus };
  if (response.watermark) return { kind: 'watermark', watermark: response.watermark };
  if (response.coverage) return { kind: 'coverage', coverage: response.coverage };
  if (response.group) return { kind: 'group', group: response.group };
  return undefined;
}

export function itemFacts(item: SubscribeItem): ItemFacts {
  if (item.kind === 'events') return { kind: 'events', cursor: item.batch.cursor, events: item.batch.count };
  if (item.kind === 'watermark') return { kind: 'other', cursor: item.watermark.cursor };
  if (item.kind === 'coverage') return { kind: 'coverage', cursor: item.coverage.cursor };
  if (item.kind === 'group' && item.group.assigned) return { kind: 'other', cursor: '', assigned: item.group.assigned };
  if (item.kind !== 'accepted') return { kind: 'other', cursor: '' };
  const { since, until } = item.accepted;
  return {
    kind: 'accepted',
    cursor: '',
    since: since ? timestampText(since) : '',
    until: until ? timestampText(until) : '',
  };
}
