/** `backplane nodes`: the nodes, whether they are connected, what they record and what it costs them. */
import type { Command } from 'commander';
import { timestampNs } from '../subscriptions/timestamp.js';
import type { ListNodesResponse__Output } from '../wire/messages.js';
import { defineForget } from './forget-nodes.js';
import { defineList } from './list.js';
import { compactBytes } from './render/bytes.js';
import { tableText } from './render/columns.js';
import { safeText } from './render/text.js';
import { agoText } from './render/time.js';
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
export function nodesText(answer: ListNodesResponse__Output, nowNs: bigint): string {
  if (answer.nodes.length === 0) return 'no node has connected yet: start "backplane agent" on one\n';
  const rows = answer.nodes.map((node) => nodeRow(node, nowNs));
  const degraded = answer.nodes
    .filter((node) => node.degraded !== '')
    .map((node) => `${safeText(node.name)}: ${safeText(node.degraded)}\n`);
  const table = tableText(
    [
      { title: 'NODE' },
      { title: 'STATE' },
      { title: 'SINCE' },
      { title: 'SOURCE' },
      { title: 'KERNEL' },
      { title: 'RECORDED' },
      { title: 'SIZE', align: 'right' },
      { title: 'EVENTS', align: 'right' },
      { title: 'LOST', align: 'right' },
      { title: 'SHED', align: 'right' },
      { title: 'SENT', align: 'right' },
      { title: 'CLOCK', align: 'right' },
      { title: 'CPU', align: 'right' },
      { title: 'MEMORY', align: 'right' },
    ],
    rows,
  );
  return degraded.length === 0 ? table : `${table}\n${degraded.join('')}`;
}

function nodeRow(node: ListedNode, nowNs: bigint): string[] {
  const ago = (time: ListedNode['recordedFrom']) => (time ? agoText(timestampNs(time), nowNs) : '-');
  return [
    safeText(node.name),
    STATES[node.state],
    ago(node.connectedSince ?? node.lastSeen),
    safeText(node.source),
    safeText(node.kernelRelease),
    ago(node.recordedFrom),
    compactBytes(node.recordedBytes),
    node.eventsRecorded,
    node.eventsLost,
    node.eventsShed,
    compactBytes(node.uplinkBytes),
    clockText(node.clockOffsetNs),
    `${(node.cpuRatio * 100).toFixed(1)}%`,
    compactBytes(node.residentBytes),
  ];
}

/** How far the node's clock is from the broker's: `+1.2ms`. */
function clockText(offsetNs: string): string {
  const ms = Number(offsetNs) / 1e6;
  const sign = ms < 0 ? '-' : '+';
  const size = Math.abs(ms);
  return size < 1000 ? `${sign}${size.toFixed(1)}ms` : `${sign}${(size / 1000).toFixed(1)}s`;
}
