/**
 * Clusters that one command can ask together, by name: a map in the YAML file, the same as JSON elsewhere.
 *
 *   clusters:
 *     a: { brokers: [a1:8484@x, a2:8484@y], ca: /etc/a/ca.crt, tokenFile: /etc/a/token }
 *     b: { brokers: b1:8484, ca: /etc/b/ca.crt, cert: /etc/b/me.crt, key: /etc/b/me.key }
 */
import * as z from 'zod';
import { CLUSTER_NAME_FORM, isClusterName } from '../client/clusters/cluster-cursor.js';
import { BackplaneError } from '../errors.js';
import { CLUSTERS_MAX } from '../limits.js';
import { checkBrokers, isBroker } from '../text/broker-address.js';
import { suggestion } from '../text/nearest.js';
import type { ClusterSettings, ClustersSetting } from './clusters-data.js';
import { refuse } from './setting.js';

const text = z.string({ error: 'must be text' }).default('');
const KEYS = ['brokers', 'ca', 'cert', 'key', 'token', 'tokenFile'];
const clusterForm = z.strictObject(
  {
    brokers: z.union([z.string(), z.array(z.string())], { error: 'must be host:port items' }),
    ca: text,
    cert: text,
    key: text,
    token: text,
    tokenFile: text,
  },
  {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return `must be a map of ${KEYS.join(', ')}`;
      const [key = ''] = issue.keys;
      return `unknown key ${JSON.stringify(key)}${suggestion(key, KEYS)} (known: ${KEYS.join(', ')})`;
    },
  },
);

/** Says nothing of values: there are tokens among them. @throws BackplaneError invalid_argument: see Setting */
export function clustersOf(given: string): ClustersSetting {
  const clusters = parseClusters(given);
  return typeof clusters === 'string' ? refuse(clusters) : clusters;
}

/** The clusters, or a sentence that says why they cannot be used. */
function parseClusters(text: string): ClustersSetting | string {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return 'must be clusters by name as JSON, like {"a":{"brokers":["a1:8484"],"tokenFile":"/etc/a/token"}}';
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return 'must be clusters by name';
  const entries = Object.entries(data);
  if (entries.length > CLUSTERS_MAX) return `must be at most ${CLUSTERS_MAX} clusters, got ${entries.length}`;
  const clusters = new Map<string, ClusterSettings>();
  for (const [name, value] of entries) {
    if (!isClusterName(name)) return `has a bad name: it ${CLUSTER_NAME_FORM}, got ${JSON.stringify(name)}`;
    const cluster = parseCluster(name, value);
    if (typeof cluster === 'string') return cluster;
    clusters.set(name, cluster);
  }
  return clusters;
}

function parseCluster(name: string, value: unknown): ClusterSettings | string {
  const form = clusterForm.safeParse(value);
  if (!form.success) {
    const [issue] = form.error.issues;
    return `item ${[name, ...(issue?.path ?? [])].join('.')}: ${issue?.message}`;
  }
  const { brokers: listed, ...rest } = form.data;
  const items = typeof listed === 'string' ? listed.split(',') : listed;
  const brokers = items.map((item) => item.trim()).filter((item) => item !== '');
  try {
    checkBrokers(brokers, undefined, isBroker, 'host:port', `item ${name}.`);
  } catch (cause) {
    if (cause instanceof BackplaneError) return cause.message;
    throw cause;
  }
  const { ca, cert, key, token, tokenFile } = rest;
  if ((cert === '') !== (key === '')) return `item ${name}: must have cert and key together`;
  if (cert !== '' && ca === '') return `item ${name}: needs ca beside cert`;
  if ([cert, token, tokenFile].filter((each) => each !== '').length > 1)
    return `item ${name}: must have one of token, tokenFile and cert`;
  return { brokers, ...rest };
}
