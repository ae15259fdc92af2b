/** The account of a subscription, and of each of its selectors, as subscribers get it. */
import type { DeliveryTotals, Outlet } from '../outlet.js';
import type { SelectorSet } from './selector-set.js';

interface Account {
  readonly matched: number;
  readonly delivered: number;
  readonly throttled: number;
  readonly shed: number;
  readonly skipped: number;
  readonly refilled: number;
}

interface SelectorAccount extends Account {
  readonly selector: string;
}

export interface LedgerMessage extends Account {
  selectors: SelectorAccount[];
}

export function ledgerMessage(
  { ledger, ledgers }: Pick<Outlet, 'ledger' | 'ledgers'>,
  { ids }: SelectorSet,
): LedgerMessage {
  const selectors = ledgers.map((totals, index) => ({ selector: ids[index]!, ...accountOf(totals) }));
  return { ...accountOf(ledger), selectors };
}

function accountOf({ events, ...others }: DeliveryTotals): Account {
  return { matched: events + others.throttled + others.shed + others.skipped, delivered: events, ...others };
}
