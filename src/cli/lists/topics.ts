/** `backplane topics`: what can be subscribed to, and what the broker's log holds of it. */
import type { Command } from 'commander';
import type { ListTopicsResponse__Output } from '../../wire/messages.js';
import { compactBytes } from '../render/bytes.js';
import { fittedTable } from '../render/columns.js';
import { safeText } from '../render/text.js';
import { defineList } from './list.js';

export function define(command: Command): void {
  defineList(command, { ask: (client) => client.listTopics(), items: (answer) => answer.topics, text: topicsText });
}

export function topicsText(answer: ListTopicsResponse__Output, _nowNs: bigint, width?: number): string {
  const rows = answer.topics.map((topic) => [
    safeText(topic.name),
    String(topic.subscriptions),
    topic.events,
    compactBytes(topic.logBytes),
    safeText(topic.description),
    safeText(topic.eventTypes.join(' ')),
  ]);
  return fittedTable(
    [
      { title: 'TOPIC' },
      { title: 'SUBSCRIPTIONS', align: 'right', rank: 1 },
      { title: 'EVENTS', align: 'right' },
      { title: 'LOG', align: 'right' },
      { title: 'WHAT', wraps: true },
      { title: 'TYPES', wraps: true, rank: 4 },
    ],
    rows,
    width,
  );
}
