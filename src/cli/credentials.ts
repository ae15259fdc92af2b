/** The broker's token for the commands that talk to one. */
import { Client } from '../client/client.js';
import type { SettingKey } from '../config/settings.js';
import type { Config } from '../config.js';
import { credentialFor } from './credential-lookup.js';

/** Settings of every command that asks a broker. */
export const CLIENT_KEYS: readonly SettingKey[] = ['brokers', 'token.file'];

/** What to do where none answers. */
export const NO_BROKER = 'start one with "backplane up", or name another with --broker or BACKPLANE_BROKERS';

export function clientOf(config: Config): Client {
  return new Client(config.settings.brokers, credentialFor(config), { advice: NO_BROKER });
}
