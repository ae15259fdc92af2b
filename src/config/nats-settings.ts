/** Settings of brokers on NATS JetStream. */
import { NATS_SERVERS_MAX } from '../limits.js';
import { isMonitorUrl, isNatsUrl } from './addresses.js';
import { anyText, list, setting, textThat } from './setting.js';

export const NATS_SETTINGS = {
  'nats.servers': {
    ...list(isNatsUrl, [0, NATS_SERVERS_MAX], 'addresses, like nats://10.0.0.1:4222 or tls://nats.example:4222'),
    fallback: '',
    summary: 'nats-servers that keep the log of a cluster of brokers (comma-separated)',
  },
  'nats.cluster': setting(
    textThat((text) => /^[A-Za-z0-9_-]{0,32}$/.test(text), 'must be up to 32 letters, digits, "-" or "_"'),
    '',
    'name of the cluster, which begins the names of its streams',
  ),
  'nats.credentials': setting(anyText, '', 'file of credentials for them (JWT and seed, as nsc writes it)'),
  'nats.nkey': setting(anyText, '', 'file with the seed of the nkey for them, in place of credentials'),
  'nats.ca': setting(anyText, '', 'file with the CA of their certificates'),
  'nats.cert': setting(anyText, '', 'file with the certificate that is shown to them (PEM)'),
  'nats.key': setting(anyText, '', 'file with its key'),
  'nats.monitor': {
    ...list(isMonitorUrl, [0, NATS_SERVERS_MAX], 'addresses, like http://10.0.0.1:8222'),
    fallback: '',
    summary:
      'monitoring of each of them, which says whether a power cut may lose what they acknowledged (comma-separated)',
  },
} as const;
