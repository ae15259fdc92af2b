/** `backplane nodes`: the nodes, whether they are connected, what they record and what it costs them. */
import type { Command } from 'commander';
import { timestampNs } from '../../subscriptions/timestamp.js';
import type { ListNodesResponse__Output } from '../../wire/messages.js';
import { asTyped } from '../command-name.js';
import { compactBytes } from '../render/bytes.js';
import { type Column, fittedTable, wrapText } from '../render/columns.js';
import { safeText } from '../render/text.js';
import { agoText } from '../render/time.js';
import { defineForget } from './forget-nodes.js';
import { defineList } from './list.js';
import { defineSetBudget } from './set-budget.js';

type ListedNode = ListNodesResponse__Output['nodes'][number];

const STATES: Readonly<Record<ListedNode['state'], string>> = {
  NODE_STATE_UNSPECIFIED: 'unknown',
  NODE_STATE_CONNECTED: 'connected',
  NODE_STATE_GONE: 'gone',
  NODE_STATE_DEGRADED: 'degraded',
};

export function define(command: Command): void {
  defineSetBudget(command.command('set-budget').description('set what nodes may send, from now on'));
  defineForget(command.command('forget').description('no longer list nodes that are gone for good'));
  defineList(command, { ask: (client) => client.listNodes(), items: (answer) => answer.nodes, text: nodesText });
}

/** A table, and below it one line for every node that sees less than it should. */
export function nodesText(answer: ListNodesResponse__Output, nowNs: bigint, width?: number): string {
  if (answer.nodes.length === 0) return asTyped('no node has connected yet: start "backplane agent" on one\n');
  const rows = answer.nodes.map((node) => nodeRow(node, nowNs));
  const degraded = answer.nodes
    .filter((node) => node.degraded !== '')
    .flatMap((node) =>
      wrapText(`${safeText(node.name)}: ${safeText(node.degraded)}`, width ?? Number.MAX_SAFE_INTEGER),
    );
  const table = fittedTable(COLUMNS, rows, width);
  return degraded.length === 0 ? table : `${table}\n${degraded.join('\n')}\n`;
}

const COLUMNS: readonly Column[] = [
  { title: 'NODE' },
  { title: 'STATE' },
  { title: 'SINCE' },
  { title: 'SOURCE', rank: 5 },
  { title: 'KERNEL', rank: 9 },
  { title: 'ARGUMENTS', rank: 13 },
  { title: 'RECORDED', rank: 1 },
  { title: 'SIZE', align: 'right', rank: 6 },
  { title: 'EVENTS', align: 'right' },
  { title: 'LOST', align: 'right' },
  { title: 'SHED', align: 'right' },
  { title: 'SENT', align: 'right', rank: 7 },
  { title: 'CLOCK', align: 'right', rank: 8 },
  { title: 'CPU', align: 'right', rank: 2 },
  { title: 'MEMORY', align: 'right', rank: 3 },
  { title: 'LIVE/S', align: 'right', rank: 12 },
  { title: 'EVENTS/S', align: 'right', rank: 11 },
  { title: 'HISTORY/S', align: 'right', rank: 10 },
];

function nodeRow(node: ListedNode, nowNs: bigint): string[] {
  const ago = (time: ListedNode['recordedFrom']) => (time ? agoText(timestampNs(time), nowNs) : '-');
  return [
    safeText(node.name),
    STATES[node.state],
    ago(node.connectedSince ?? node.lastSeen),
    safeText(node.source),
    safeText(node.kernelRelease),
    safeText(node.argumentsBy) || '-',
    ago(node.recordedFrom),
    compactBytes(node.recordedBytes),
    node.eventsRecorded,
    node.eventsLost,
    node.eventsShed,
    compactBytes(node.uplinkBytes),
    clockText(node.clockOffsetNs),
    `${(node.cpuRatio * 100).toFixed(1)}%`,
    compactBytes(node.residentBytes),
    rateText(node.budget?.liveBytesPerSecond, compactBytes),
    rateText(node.budget?.liveEventsPerSecond),
    rateText(node.budget?.historyBytesPerSecond, compactBytes),
  ];
}

/** What it may send; `-` where only the node knows. */
function rateText(rate: string | undefined, text: (rate: string) => string = String): string {
  return rate === undefined || rate === '0' ? '-' : text(rate);
}

/** How far the node's clock is from the broker's: `+1.2ms`. */
function clockText(offsetNs: string): string {
  const ms = Number(offsetNs) / 1e6;
  const sign = ms < 0 ? '-' : '+';
  const size = Math.abs(ms);
  return size < 1000 ? `${sign}${size.toFixed(1)}ms` : `${sign}${(size / 1000).toFixed(1)}s`;
}
