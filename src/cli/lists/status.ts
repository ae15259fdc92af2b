/** `backplane status`: one broker's state, a line per fact. */
import type { Command } from 'commander';
import { timestampNs } from '../../subscriptions/timestamp.js';
import type { GetStatusResponse__Output } from '../../wire/messages.js';
import { compactBytes } from '../render/bytes.js';
import { wrapText } from '../render/columns.js';
import { safeText } from '../render/text.js';
import { agoText } from '../render/time.js';
import { defineList } from './list.js';

/** With the space behind it. */
const NAME_WIDTH = 17;

export function define(command: Command): void {
  defineList(command, { ask: (client) => client.getStatus(), text: statusText });
}

export function statusText(answer: GetStatusResponse__Output, nowNs: bigint, width?: number): string {
  const facts: readonly (readonly [string, string])[] = [
    ['version', answer.version],
    ['running for', answer.started ? agoText(timestampNs(answer.started), nowNs) : '-'],
    ['nodes', String(answer.nodes)],
    ['subscriptions', String(answer.subscriptions)],
    ['log', compactBytes(answer.logBytes)],
    ...(answer.logTrouble ? ([['trouble', answer.logTrouble]] as const) : []),
    ...(answer.tlsTrouble ? ([['certificate', answer.tlsTrouble]] as const) : []),
    ['ingested', `${answer.eventsIngested} events in ${answer.framesIngested} frames`],
    ['delivered', `${answer.eventsDelivered} events`],
    ...(answer.dataDir ? ([['data directory', answer.dataDir]] as const) : []),
    ['gRPC', answer.grpcListen],
    ['HTTP', answer.httpListen],
    ...(answer.cluster ? ([['cluster', answer.cluster]] as const) : []),
    ...(answer.durability ? ([['durability', answer.durability]] as const) : []),
    ...answer.brokers.map((broker) => ['broker', brokerText(broker)] as const),
  ];
  const valueWidth = width === undefined ? Number.MAX_SAFE_INTEGER : Math.max(20, width - NAME_WIDTH);
  return facts
    .map(([name, value]) => {
      const lines = wrapText(safeText(value), valueWidth).join(`\n${' '.repeat(NAME_WIDTH)}`);
      return `${`${name}:`.padEnd(NAME_WIDTH)}${lines}\n`;
    })
    .join('');
}

function brokerText({ address, version, nodes, retired, own }: GetStatusResponse__Output['brokers'][number]): string {
  const what = own ? ', this one' : '';
  return `${address}, ${version}, ${nodes} ${nodes === 1 ? 'node' : 'nodes'}${retired ? ', retired' : ''}${what}`;
}
