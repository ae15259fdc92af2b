/** The broker's token for the commands that talk to one. */
import { type CredentialFor, tokenLookup } from '../access/token-lookup.js';
import { Client } from '../client/client.js';
import type { SettingKey } from '../config/settings.js';
import type { Config } from '../config.js';
import { securityFor, TLS_CLIENT_KEYS } from './tls-settings.js';

/** Settings of every command that asks a broker. */
export const CLIENT_KEYS: readonly SettingKey[] = ['brokers', 'token.file', ...TLS_CLIENT_KEYS];

export function credentialFor({ settings, origins }: Config): CredentialFor {
  const named = settings['token.file'] !== '' || process.env.BACKPLANE_TOKEN;
  // A certificate is a credential, and a broker refuses two: a token goes along only if somebody names one.
  if (settings['tls.cert'] !== '' && !named) return () => undefined;
  return tokenLookup({
    environment: process.env,
    tokenFile: settings['token.file'],
    dataDir: settings['data.dir'],
    dataDirGiven: origins['data.dir'].origin !== 'default',
  });
}

export function clientOf(config: Config): Client {
  return new Client(config.settings.brokers, credentialFor(config), securityFor(config.settings));
}
