/** The broker's token for the commands that talk to one. */
import { Client, type ClientOptions } from '../../client/client.js';
import type { SettingKey } from '../../config/settings.js';
import type { Config } from '../../config.js';
import { packageVersion } from '../../package-files.js';
import { credentialFor } from './credential-lookup.js';
import { securityFor, TLS_CLIENT_KEYS } from './tls-settings.js';

/** Settings of every command that asks a broker. */
export const CLIENT_KEYS: readonly SettingKey[] = ['brokers', 'zone', 'token.file', ...TLS_CLIENT_KEYS];

/** What to do where none answers. */
const NO_BROKER = 'start one with "backplane up", or name another with --broker or BACKPLANE_BROKERS';

export function clientOf(config: Config): Client {
  return new Client(config.settings.brokers, credentialFor(config), connectionOf(config));
}

/** How every command that asks a broker connects to it. */
export function connectionOf(config: Config): ClientOptions {
  const { settings } = config;
  return { zone: settings.zone, securityFor: securityFor(settings), advice: NO_BROKER, version: packageVersion() };
}
