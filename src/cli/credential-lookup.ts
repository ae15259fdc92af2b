/** The broker's token as the settings say where it is. */
import { type CredentialFor, tokenLookup } from '../access/token-lookup.js';
import type { Config } from '../config.js';

export function credentialFor({ settings, origins }: Config): CredentialFor {
  return tokenLookup({
    environment: process.env,
    tokenFile: settings['token.file'],
    dataDir: settings['data.dir'],
    dataDirGiven: origins['data.dir'].origin !== 'default',
  });
}
