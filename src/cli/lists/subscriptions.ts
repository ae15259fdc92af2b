/** `backplane subscriptions`: who is subscribed to what, and how far behind. */
import type { Command } from 'commander';
import { timestampNs } from '../../subscriptions/timestamp.js';
import type { ListSubscriptionsResponse__Output } from '../../wire/messages.js';
import { asTyped } from '../command-name.js';
import { compactBytes } from '../render/bytes.js';
import { fittedTable } from '../render/columns.js';
import { safeText } from '../render/text.js';
import { agoText } from '../render/time.js';
import { defineList } from './list.js';

export function define(command: Command): void {
  defineList(command, {
    ask: (client) => client.listSubscriptions(),
    items: (answer) => answer.subscriptions,
    text: subscriptionsText,
  });
}

function selectorsText(selectors: readonly { readonly id: string; readonly filter: string }[]): string {
  return selectors.map(({ id, filter }) => safeText(`${id}: ${filter}`)).join('; ');
}

export function subscriptionsText(answer: ListSubscriptionsResponse__Output, nowNs: bigint, width?: number): string {
  if (answer.subscriptions.length === 0) return asTyped('nobody is subscribed: try "backplane observe --follow"\n');
  const rows = answer.subscriptions.map((subscription) => [
    safeText(subscription.id),
    safeText(subscription.client) || '-',
    safeText(subscription.peer) || '-',
    safeText(subscription.identity) || '-',
    safeText(subscription.phase),
    subscription.started ? agoText(timestampNs(subscription.started), nowNs) : '-',
    subscription.eventsMatched,
    subscription.eventsDelivered,
    subscription.eventsShed,
    subscription.eventsSkipped,
    subscription.eventsRefilled,
    subscription.eventsThrottled,
    compactBytes(subscription.bytesDelivered),
    subscription.lagFrames,
    safeText(subscription.topics.join(',')) || '(every topic)',
    safeText(subscription.filter) || selectorsText(subscription.selectors) || '(every event)',
  ]);
  return fittedTable(
    [
      { title: 'ID', rank: 10 },
      { title: 'CLIENT' },
      { title: 'FROM', rank: 1 },
      { title: 'AS', rank: 8 },
      { title: 'PHASE' },
      { title: 'SINCE', rank: 3 },
      { title: 'MATCHED', align: 'right', rank: 9 },
      { title: 'EVENTS', align: 'right' },
      { title: 'SHED', align: 'right' },
      { title: 'SKIPPED', align: 'right', rank: 5 },
      { title: 'REFILLED', align: 'right', rank: 7 },
      { title: 'THROTTLED', align: 'right', rank: 6 },
      { title: 'SENT', align: 'right', rank: 4 },
      { title: 'LAG', align: 'right' },
      { title: 'TOPICS', wraps: true, rank: 2 },
      { title: 'FILTER', wraps: true },
    ],
    rows,
    width,
  );
}
