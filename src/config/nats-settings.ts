/** Settings of brokers on NATS JetStream. */
import * as z from 'zod';
import { NATS_SERVERS_MAX } from '../limits.js';
import { list, setting } from './setting.js';

/** Names and passwords belong into files. */
const isNatsUrl = (text: string) =>
  /^(nats|tls):\/\/([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:\d{1,5})?$/.test(text);

export const NATS_SETTINGS = {
  'nats.servers': {
    ...list(isNatsUrl, [0, NATS_SERVERS_MAX], 'addresses, like nats://10.0.0.1:4222 or tls://nats.example:4222'),
    fallback: '',
    summary: 'nats-servers that keep the log of a cluster of brokers (comma-separated)',
  },
  'nats.cluster': setting(
    z.string().regex(/^[A-Za-z0-9_-]{0,32}$/, 'must be up to 32 letters, digits, "-" or "_"'),
    '',
    'name of the cluster, which begins the names of its streams',
  ),
  'nats.credentials': setting(z.string(), '', 'file of credentials for them (JWT and seed, as nsc writes it)'),
  'nats.nkey': setting(z.string(), '', 'file with the seed of the nkey for them, in place of credentials'),
  'nats.ca': setting(z.string(), '', 'file with the CA of their certificates'),
  'nats.cert': setting(z.string(), '', 'file with the certificate that is shown to them (PEM)'),
  'nats.key': setting(z.string(), '', 'file with its key'),
} as const;
