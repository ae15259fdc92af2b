/** The token of a broker under test, as clients of the tests send it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CredentialFor } from '../../../src/access/token-lookup.js';

export function tokenFile(brokerDir: string): string {
  return join(brokerDir, 'token');
}

/** For a Client. */
export function credentialIn(brokerDir: string): CredentialFor {
  return () => ({ token: readFileSync(tokenFile(brokerDir), 'utf8').trim(), from: tokenFile(brokerDir) });
}

/** For fetch(). */
export function bearer(brokerDir: string): { readonly authorization: string } {
  return { authorization: `Bearer ${readFileSync(tokenFile(brokerDir), 'utf8').trim()}` };
}
