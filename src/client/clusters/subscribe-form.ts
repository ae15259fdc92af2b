/** Merging of items as the gRPC client has them. */
import { positionFromMessage } from '../../wire/messages.js';
import { itemFacts, type SubscribeItem } from '../subscribe-item.js';
import type { ItemForm } from './merged-item.js';
import { acceptedIn, clusterNode, coverageIn, gapIn, inCluster } from './node-names.js';

export const SUBSCRIBE_FORM: ItemForm<SubscribeItem> = {
  facts: itemFacts,
  batch(item) {
    if (item.kind !== 'events') return undefined;
    const { node, topic, history, refill, count, received } = item.batch;
    return {
      ...{ node, topic, history, refill, count },
      timeNs: (event) => received[event]!.timeNs,
      position: (event) => {
        const { position } = received[event]!.message;
        return position ? positionFromMessage('events.position', position) : undefined;
      },
    };
  },
  isLost: (item) => item.kind === 'link' && item.cause !== undefined,
  named(item, cluster, cursor, from = 0, to = 0) {
    switch (item.kind) {
      case 'events':
        return { kind: 'events', batch: item.batch.part(from, to, clusterNode(cluster, item.batch.node), cursor) };
      case 'accepted':
        return { kind: 'accepted', accepted: acceptedIn(cluster, item.accepted), cluster };
      case 'gap':
        return { kind: 'gap', gap: gapIn(cluster, item.gap) };
      case 'node_status':
        return { kind: 'node_status', status: inCluster(cluster, item.status) };
      case 'watermark':
        return { kind: 'watermark', watermark: { ...inCluster(cluster, item.watermark), cursor } };
      case 'coverage':
        return { kind: 'coverage', coverage: coverageIn(cluster, item.coverage, cursor) };
      case 'link':
        return { ...item, cluster };
      case 'group':
        return item;
    }
  },
  link: (cluster, cause) => ({ kind: 'link', broker: '', cause, cluster }),
};
