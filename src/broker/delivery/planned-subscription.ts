/** What deliveries work with: the parts of the broker that all subscriptions share, and one subscription's own parts. */
import type { BytePool } from '../../flow/byte-pool.js';
import type { Signal } from '../../flow/signal.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { Delays } from '../delays.js';
import type { DocumentLogs } from '../log/documents/document-logs.js';
import type { FanOut } from '../log/fan-out.js';
import type { LogStore } from '../log/log-store.js';
import type { Interest } from '../nodes/interest-book.js';
import type { Lingers } from '../nodes/lingers.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import type { NodeRoute } from '../nodes/node-route.js';
import type { SubscriptionPosition } from './cursor/subscription-position.js';
import type { DocumentDelivery } from './documents/document-delivery.js';
import type { LedgerTotals } from './ledger-totals.js';
import type { SilencePace } from './live/silence-pace.js';
import type { Outlet } from './outlet.js';
import type { Planner } from './plan.js';
import type { SelectorSet } from './selectors/selector-set.js';
import type { SubscriptionStart } from './start.js';

/** Parts of the broker that all subscriptions share. */
export interface DeliveryContext {
  readonly store: LogStore;
  readonly fanOut: FanOut;
  readonly documents: DocumentLogs;
  readonly registry: NodeRegistry;
  readonly route: NodeRoute;
  readonly book: Interest;
  readonly lingers: Lingers;
  readonly historyPool: BytePool;
  readonly totals: LedgerTotals;
  readonly delays: Delays;
  readonly silence: SilencePace;
}

/** One subscription once it is planned. Each part is made before any delivery begins and stays the same to the end. */
export interface PlannedSubscription {
  readonly broker: DeliveryContext;
  readonly checked: CheckedSubscription;
  readonly selectors: SelectorSet;
  readonly start: SubscriptionStart;
  readonly planner: Planner;
  readonly position: SubscriptionPosition;
  /** Undefined when no documents are wanted, and cursors need not name their logs. */
  readonly documents: DocumentDelivery | undefined;
  readonly outlet: Outlet;
  /** Wakes the live loop. */
  readonly wake: Signal;
  /** Fires when the subscriber went or the broker drains. */
  readonly signal: AbortSignal;
}
