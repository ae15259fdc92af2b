/** Nodes of a Kubernetes cluster join by the service account tokens of their pods; the cluster here is a key of our own. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { joinByServiceAccount } from '../../../src/access/join.js';
import { securedBy } from '../../../src/access/secure-channel.js';
import { TestAuthority } from '../../harness/access/certificates.js';
import { Harness } from '../../harness/broker/harness.js';

const NODE = 'worker-1';
const SUBJECT = 'system:serviceaccount:backplane:agent';
const CLAIMS = { 'kubernetes.io': { namespace: 'backplane', node: { name: NODE }, pod: { name: 'agent-x' } } };

let own: TestAuthority;
let harness: Harness;
let key: CryptoKey;
let keysFile: string;
let tokenFile: string;

before(async () => {
  own = await TestAuthority.make('cluster');
  const pair = await generateKeyPair('ES256');
  key = pair.privateKey;
  keysFile = joinPath(own.dir, 'jwks.json');
  tokenFile = joinPath(own.dir, 'token');
  writeFileSync(keysFile, JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), alg: 'ES256', kid: 'a' }] }));
  harness = new Harness();
  const serviceAccounts = { keys: keysFile, account: 'backplane:agent' };
  harness.tls = { ...(await own.broker()), signs: { key: own.caKey, validMs: 3_600_000, serviceAccounts } };
  await harness.startBroker();
});
after(() => harness.destroy());

interface Made {
  readonly claims?: JWTPayload;
  readonly audience?: string;
  readonly subject?: string;
  readonly expires?: string | undefined;
  readonly key?: CryptoKey | Uint8Array;
  readonly algorithm?: string;
}

async function token(made: Made = {}): Promise<string> {
  const jwt = new SignJWT(made.claims ?? CLAIMS)
    .setProtectedHeader({ alg: made.algorithm ?? 'ES256', kid: 'a' })
    .setAudience(made.audience ?? 'backplane')
    .setSubject(made.subject ?? SUBJECT);
  if (!('expires' in made) || made.expires !== undefined) jwt.setExpirationTime(made.expires ?? '1h');
  return jwt.sign(made.key ?? key);
}

function joins(text: string, node = NODE) {
  writeFileSync(tokenFile, `${text}\n`);
  const securityFor = securedBy({ ca: own.ca, own: undefined });
  return joinByServiceAccount(harness.broker.grpcAddress, { tokenFile, securityFor }, node);
}

test('a node joins by the token of its pod, and again when it has lost its certificate', async () => {
  const text = await token();
  assert.ok(await joins(text));
  assert.ok(await joins(text));
  await assert.rejects(joins(text, 'worker-2'), {
    code: 'permission_denied',
    message: /a pod on another node than worker-2/,
  });
});

test('every other token is refused', async () => {
  const stranger = await generateKeyPair('ES256');
  const unsound: Readonly<Record<string, string>> = {
    'another audience': await token({ audience: 'https://kubernetes.default.svc' }),
    'another account': await token({ subject: 'system:serviceaccount:backplane:default' }),
    expired: await token({ expires: '-1m' }),
    'for ever': await token({ expires: undefined }),
    'a foreign key': await token({ key: stranger.privateKey }),
    'a shared secret': await token({ key: new Uint8Array(32), algorithm: 'HS256' }),
    unsigned: new UnsecuredJWT(CLAIMS).setAudience('backplane').setSubject(SUBJECT).setExpirationTime('1h').encode(),
    'of no node': await token({ claims: { 'kubernetes.io': { namespace: 'backplane' } } }),
    'of a node that is a number': await token({ claims: { 'kubernetes.io': { node: { name: 7 } } } }),
    'of no cluster': await token({ claims: {} }),
    text: 'no token',
  };
  for (const [what, text] of Object.entries(unsound))
    await assert.rejects(
      joins(text),
      { code: 'unauthenticated', message: /^the service account token is not good: / },
      what,
    );
});

test('a token that was changed anywhere is refused', async () => {
  const text = await token();
  for (let count = 0; count < 100; count += 1) {
    const at = randomInt(text.length - 1);
    const other = text[at] === 'A' ? 'B' : 'A';
    await assert.rejects(
      joins(text.slice(0, at) + other + text.slice(at + 1)),
      { code: 'unauthenticated' },
      `at ${at}`,
    );
  }
});

test('without keys nobody joins so, and what is wrong with them is told', async () => {
  const text = await token();
  writeFileSync(keysFile, 'no keys');
  await assert.rejects(joins(text), { code: 'failed_precondition', message: /^the keys in \S+ cannot be used: / });
  rmSync(keysFile);
  await assert.rejects(joins(text), { code: 'failed_precondition', message: /there is no such file/ });
});
