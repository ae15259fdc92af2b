/** Merging of items of several clusters in the library's form. Runs in browsers. */
import type { ItemForm } from '../clusters/merged-item.js';
import { acceptedIn, clusterNode, coverageIn, gapIn, inCluster } from '../clusters/node-names.js';
import { type BatchItem, batchFacts } from './items.js';

export const BATCH_FORM: ItemForm<BatchItem> = {
  facts: batchFacts,
  batch(item) {
    if (item.kind !== 'events') return undefined;
    const { node, topic, history, refill, events } = item;
    return {
      ...{ node, topic, history, refill, count: events.length },
      timeNs: (event) => events[event]!.timeNs,
      position: (event) => {
        const { epoch, ...rest } = events[event]!.position;
        return { ...rest, epoch: Number(epoch) };
      },
    };
  },
  isLost: (item) => item.kind === 'link' && item.cause !== undefined,
  named(item, cluster, cursor, from = 0, to = 0) {
    switch (item.kind) {
      case 'events': {
        const { node, events, selectorsOf } = item;
        const own = { node: clusterNode(cluster, node), cursor };
        if (from === 0 && to === events.length) return { ...item, ...own };
        return { ...item, ...own, events: events.slice(from, to), selectorsOf: (event) => selectorsOf(from + event) };
      }
      case 'accepted':
        return { kind: 'accepted', accepted: acceptedIn(cluster, item.accepted), cluster };
      case 'gap':
        return { kind: 'gap', gap: gapIn(cluster, item.gap) };
      case 'node':
        return { kind: 'node', node: inCluster(cluster, item.node) };
      case 'watermark':
        return { kind: 'watermark', watermark: { ...inCluster(cluster, item.watermark), cursor } };
      case 'coverage':
        return { ...item, coverage: coverageIn(cluster, item.coverage, cursor) };
      case 'link':
        return { ...item, cluster };
      case 'group':
        return item;
    }
  },
  link: (cluster, cause) => ({ kind: 'link', broker: '', cause, cluster }),
};
