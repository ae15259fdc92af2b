/** The token for a broker as the settings say where it is. */
import { type CredentialFor, tokenLookup } from '../../access/token-lookup.js';
import type { Config } from '../../config.js';

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
