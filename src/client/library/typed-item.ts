/** Items as the gRPC client has them, in the library's form. */
import { messageToJson } from '../../wire/message-json.js';
import { acceptedOf, coverageOf, gapOf, groupEventOf, nodeStatusOf, watermarkOf } from '../../wire/typed/messages.js';
import type { SubscribeItem } from '../subscribe-item.js';
import type { BatchItem } from './items.js';

export function typedItem(item: SubscribeItem): BatchItem {
  switch (item.kind) {
    case 'events': {
      const { node, topic, history, refill, cursor, slice, typed: events, selectorsOf } = item.batch;
      return { kind: 'events', node, topic, history, refill, events, selectorsOf, cursor, slice };
    }
    case 'accepted':
      return { kind: 'accepted', accepted: acceptedOf(messageToJson(item.accepted)) };
    case 'gap':
      return { kind: 'gap', gap: gapOf(messageToJson(item.gap)) };
    case 'node_status':
      return { kind: 'node', node: nodeStatusOf(messageToJson(item.status)) };
    case 'watermark':
      return { kind: 'watermark', watermark: watermarkOf(messageToJson(item.watermark)) };
    case 'coverage': {
      const coverage = coverageOf(messageToJson(item.coverage));
      return { kind: 'coverage', coverage, ledger: coverage.ledger };
    }
    case 'group':
      return { kind: 'group', group: groupEventOf(messageToJson(item.group)) };
    case 'link':
      return item;
  }
}
