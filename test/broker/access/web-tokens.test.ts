/** Signed web tokens: whatever is not signed by a known key, for this broker and until later, lets nobody in. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { SignedWebTokens } from '../../../src/broker/access/web-tokens.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const OPTIONS = {
  issuer: 'https://issuer.example',
  audience: 'backplane',
  identityClaim: 'sub',
  groupsClaim: 'groups',
};
const file = join(scratchDirectory('keys'), 'keys.json');
type Key = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];
let key: Key;
let foreign: Key;
let keys: string;

before(async () => {
  const pair = await generateKeyPair('ES256', { extractable: true });
  key = pair.privateKey;
  foreign = (await generateKeyPair('ES256')).privateKey;
  keys = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k', alg: 'ES256' }] });
  writeFileSync(file, keys);
});

/** Undefined: without the claim. */
const claims = (change: Readonly<Record<string, unknown>> = {}): JWTPayload => {
  const exp = Math.floor(Date.now() / 1000) + 600;
  return { iss: OPTIONS.issuer, aud: OPTIONS.audience, sub: 'carol', groups: ['soc'], exp, ...change };
};
const signed = (payload: JWTPayload, by = key) =>
  new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(by);
const verifier = (place = file) => new SignedWebTokens({ ...OPTIONS, keys: place }, assert.fail, async () => undefined);

test('a sound token names its identity and groups, and ends with it', async () => {
  const payload = claims();
  const identity = await verifier().verify(await signed(payload));
  assert.deepEqual(identity, { name: 'carol', kind: 'jwt', groups: ['soc'], untilMs: (payload.exp! + 30) * 1000 });
  assert.deepEqual((await verifier().verify(await signed(claims({ groups: { a: 1 } })))).groups, []);
});

test('every token that is not sound is refused', async () => {
  const tokens = verifier();
  const now = Math.floor(Date.now() / 1000);
  const good = await signed(claims());
  const [head, body, signature] = good.split('.') as [string, string, string];
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  const hmac = new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k' }).sign(Buffer.from(keys));
  for (const [token, message] of [
    [await signed(claims({ exp: now - 31 })), /has expired$/],
    [await signed(claims({ iss: 'https://other.example' })), /iss is missing or not/],
    [await signed(claims({ aud: 'other' })), /aud is missing or not/],
    [await signed(claims({ exp: undefined })), /exp is missing or not/],
    [await signed(claims({ iss: undefined })), /iss is missing or not/],
    [await signed(claims({ nbf: now + 600 })), /nbf is missing or not/],
    [await signed(claims({ sub: undefined })), /sub must be 1 to 512/],
    [await signed(claims({ sub: 'a b' })), /sub must be 1 to 512/],
    [await signed(claims(), foreign), /no key of the broker has signed it$/],
    [await hmac, /is not valid/],
    [new UnsecuredJWT(claims()).encode(), /is not valid/],
    [`${none}.${body}.${signature}`, /is not valid/],
    [
      `${head}.${Buffer.from(JSON.stringify(claims({ sub: 'root' }))).toString('base64url')}.${signature}`,
      /is not valid/,
    ],
  ] as const) {
    await assert.rejects(tokens.verify(token), { code: 'unauthenticated', message });
  }
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.constantFrom('', 'A', '.', 'eyJ', '_'), async (at, text) => {
      const token = good.slice(0, at) + text + good.slice(at + 1);
      // The last character of a signature has bits that do not count.
      if (token === good || token.slice(0, -1) === good.slice(0, -1)) return;
      await assert.rejects(tokens.verify(token), { code: 'unauthenticated' });
    }),
    { numRuns: 300 },
  );
});

test('keys come from an address too; where they cannot be had the broker says so', async () => {
  let answers = true;
  const server = createServer((_request, response) => {
    response.writeHead(answers ? 200 : 500, { 'content-type': 'application/json' }).end(keys);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const place = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  const token = await signed(claims());
  answers = false;
  await assert.rejects(verifier(place).verify(token), { code: 'unavailable' });
  answers = true;
  assert.equal((await verifier(place).verify(token)).name, 'carol');
  server.closeAllConnections();
  server.close();
});

test('a file that is no key set is refused at the start', () => {
  const other = join(scratchDirectory('keys'), 'keys.json');
  for (const text of ['', '[]', '{"keys": 1}', 'x']) {
    writeFileSync(other, text);
    assert.throws(() => verifier(other), { code: 'invalid_argument' });
  }
});
