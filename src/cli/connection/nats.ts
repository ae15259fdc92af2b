/** The settings of NATS, for brokers of a cluster and for the commands that make its streams. */
import type { NatsOptions } from '../../broker/nats/connect.js';
import type { MonitorOptions } from '../../broker/nats/monitoring/server-monitor.js';
import type { SettingKey, Settings } from '../../config/settings.js';
import { invalid } from '../../errors.js';
import { checkTogether } from './tls-settings.js';

export const NATS_KEYS: readonly SettingKey[] = [
  'nats.servers',
  'nats.cluster',
  'nats.credentials',
  'nats.nkey',
  'nats.ca',
  'nats.cert',
  'nats.key',
];

/** Throws invalid_argument where no server is named, and for settings that do not go together. */
export function natsOptions(settings: Settings): NatsOptions {
  const servers = settings['nats.servers'];
  if (servers.length === 0) throw invalid('nats.servers', 'must name a nats-server, like --nats nats://10.0.0.1:4222');
  checkTogether(settings, 'nats.cert', 'nats.key');
  checkTogether(settings, 'nats.key', 'nats.cert');
  if (settings['nats.credentials'] !== '' && settings['nats.nkey'] !== '') {
    throw invalid('nats.nkey', `must not be given beside nats.credentials, got ${settings['nats.nkey']}`);
  }
  const file = (key: 'nats.credentials' | 'nats.nkey' | 'nats.ca' | 'nats.cert' | 'nats.key') =>
    settings[key] || undefined;
  return {
    servers,
    credentials: file('nats.credentials'),
    nkey: file('nats.nkey'),
    ca: file('nats.ca'),
    cert: file('nats.cert'),
    key: file('nats.key'),
  };
}

/** Where the servers' monitoring is, and what its certificates are checked by. */
export function monitoringOf(settings: Settings): MonitorOptions {
  return { monitors: settings['nats.monitor'], ca: settings['nats.ca'] || undefined };
}

/** Throws invalid_argument where no cluster is named. */
export function clusterOf(settings: Settings): string {
  const cluster = settings['nats.cluster'];
  if (cluster === '') throw invalid('nats.cluster', 'must name the cluster, like --cluster prod');
  return cluster;
}
