/**
 * Clusters that one command can ask together, by name: a map in the YAML file, the same as JSON elsewhere.
 *
 *   clusters:
 *     a: { brokers: [a1:8484@x, a2:8484@y], ca: /etc/a/ca.crt, tokenFile: /etc/a/token }
 *     b: { brokers: b1:8484, ca: /etc/b/ca.crt, cert: /etc/b/me.crt, key: /etc/b/me.key }
 */
import * as z from 'zod';
import { CLUSTER_NAME_FORM, isClusterName } from '../client/clusters/cluster-cursor.js';
import { CLUSTERS_MAX } from '../limits.js';
import { checkBrokers, isBroker } from '../text/broker-address.js';
import { suggestion } from '../text/nearest.js';
import type { ClusterSettings, ClustersSetting } from './clusters-data.js';
import { jsonData, refuse } from './setting.js';

const text = z.string({ error: 'must be text' }).default('');
const JSON_FORM = 'must be clusters by name as JSON, like {"a":{"brokers":["a1:8484"],"tokenFile":"/etc/a/token"}}';
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
  const data = jsonData(given, JSON_FORM);
  if (typeof data !== 'object' || data === null || Array.isArray(data)) refuse('must be clusters by name');
  const entries = Object.entries(data);
  if (entries.length > CLUSTERS_MAX) refuse(`must be at most ${CLUSTERS_MAX} clusters, got ${entries.length}`);
  const clusters = new Map<string, ClusterSettings>();
  for (const [name, value] of entries) {
    if (!isClusterName(name)) refuse(`has a bad name: it ${CLUSTER_NAME_FORM}, got ${JSON.stringify(name)}`);
    clusters.set(name, clusterOf(name, value));
  }
  return clusters;
}

function clusterOf(name: string, value: unknown): ClusterSettings {
  const form = clusterForm.safeParse(value);
  if (!form.success) {
    const [issue] = form.error.issues;
    return refuse(`item ${[name, ...(issue?.path ?? [])].join('.')}: ${issue?.message}`);
  }
  const { brokers: listed, ...rest } = form.data;
  const items = typeof listed === 'string' ? listed.split(',') : listed;
  const brokers = items.map((item) => item.trim()).filter((item) => item !== '');
  checkBrokers(brokers, undefined, isBroker, 'host:port', `item ${name}.`);
  const { ca, cert, key, token, tokenFile } = rest;
  if ((cert === '') !== (key === '')) refuse(`item ${name}: must have cert and key together`);
  if (cert !== '' && ca === '') refuse(`item ${name}: needs ca beside cert`);
  if ([cert, token, tokenFile].filter((each) => each !== '').length > 1)
    refuse(`item ${name}: must have one of token, tokenFile and cert`);
  return { brokers, ...rest };
}
