/** Which certificates state an identity, and which one: of real certificates, as Node reads them. */
import assert from 'node:assert/strict';
import { webcrypto, X509Certificate } from 'node:crypto';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { certificateIdentity } from '../../src/access/certificate-identity.js';
import * as x509 from '../../src/access/certificate-library.js';
import { CERTIFICATE_NAME_CHARACTERS_MAX } from '../../src/limits.js';

let keys: webcrypto.CryptoKeyPair;

before(async () => {
  keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
});

interface Names {
  readonly commonNames?: readonly string[];
  readonly others?: readonly x509.JsonGeneralName[];
}

async function certificate({ commonNames = [], others = [] }: Names): Promise<X509Certificate> {
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: commonNames.map((name) => ({ CN: [name] })),
    notBefore: new Date(0),
    notAfter: new Date(Date.now() + 1e9),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    keys,
    extensions: others.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...others])],
  });
  return new X509Certificate(Buffer.from(made.rawData));
}

async function identity(names: Names): Promise<string> {
  return certificateIdentity((await certificate(names)).toLegacyObject());
}

const uri = (value: string): x509.JsonGeneralName => ({ type: 'url', value });
const dns = (value: string): x509.JsonGeneralName => ({ type: 'dns', value });
const NODE = 'spiffe://backplane/node/web-1';

test('the SPIFFE ID is the identity, else the common name', async () => {
  assert.equal(await identity({ others: [uri(NODE)] }), NODE);
  assert.equal(await identity({ commonNames: ['other'], others: [dns('a.example'), uri(NODE)] }), NODE);
  assert.equal(await identity({ commonNames: ['alice@example.org'] }), 'alice@example.org');
  assert.equal(
    await identity({ commonNames: ['alice'], others: [dns('a.example'), uri('https://a.example')] }),
    'alice',
  );
});

const REFUSED: Readonly<Record<string, Names>> = {
  'no name': {},
  'names of hosts only': { others: [dns('a.example')] },
  'two SPIFFE IDs': { others: [uri(NODE), uri('spiffe://backplane/node/web-2')] },
  'the same SPIFFE ID twice': { others: [uri(NODE), uri(NODE)] },
  'a SPIFFE ID and another URI': { others: [uri(NODE), uri('https://a.example')] },
  'two common names': { commonNames: ['alice', 'bob'] },
  'a common name like a SPIFFE ID': { commonNames: [NODE] },
  'an empty common name': { commonNames: [''] },
  'a common name with a line break': { commonNames: ['alice\nCN=bob'] },
  'a common name with a zero': { commonNames: ['alice\0.example'] },
  'a SPIFFE ID without a path': { others: [uri('spiffe://backplane')], commonNames: ['alice'] },
  'a SPIFFE ID with an empty segment': { others: [uri('spiffe://backplane/node//web')] },
  'a SPIFFE ID with dots for a segment': { others: [uri('spiffe://backplane/node/../client/root')] },
  'a SPIFFE ID in capitals': { others: [uri('SPIFFE://backplane/node/web-1')], commonNames: ['alice'] },
  'a SPIFFE ID with a query': { others: [uri(`${NODE}?x`)] },
  'a long SPIFFE ID': { others: [uri(`${NODE}${'x'.repeat(CERTIFICATE_NAME_CHARACTERS_MAX)}`)] },
  'a URI that holds another': { others: [uri('https://a, URI:spiffe://backplane/node/web-1')] },
  'a host that holds a URI': { others: [dns(`a, URI:${NODE}`)], commonNames: ['alice'] },
};

for (const [what, names] of Object.entries(REFUSED)) {
  test(`a certificate of ${what} has no identity`, async () => {
    await assert.rejects(identity(names), { code: 'unauthenticated', message: /^the certificate / });
  });
}

test('whatever names a certificate has, its identity is its only SPIFFE ID or its only common name', async () => {
  const piece = fc.constantFrom(
    'spiffe://backplane/node/',
    'URI:',
    ', ',
    '"',
    '\\',
    '\n',
    '\0',
    'CN=',
    '+',
    'web-1',
    '/',
    '..',
  );
  const name = fc
    .array(fc.oneof(piece, fc.string({ maxLength: 6 })), { maxLength: 5 })
    .map((pieces) => pieces.join(''));
  const ascii = name.map((text) => text.replace(/[^\x00-\x7f]/g, 'x'));
  const other = fc.oneof(ascii.map(uri), ascii.map(dns), fc.constant(uri(NODE)));
  const names = fc.record({
    commonNames: fc.array(name, { maxLength: 2 }),
    others: fc.array(other, { maxLength: 3 }),
  });
  let granted = 0;
  await fc.assert(
    fc.asyncProperty(names, async (given) => {
      // Names that the library refuses to put into a certificate.
      const made = await certificate(given).catch(() => undefined);
      if (made === undefined) return;
      let stated: string;
      try {
        stated = certificateIdentity(made.toLegacyObject());
      } catch {
        return;
      }
      granted += 1;
      const uris = given.others.filter(({ type }) => type === 'url').map(({ value }) => value);
      if (stated.startsWith('spiffe:')) assert.deepEqual(uris, [stated]);
      // As it is in the certificate: the library that makes them reads some characters as escapes.
      else assert.deepEqual([made.subject, uris.length <= 1], [`CN=${stated}`, true]);
      assert.match(stated, /^[A-Za-z0-9._@:/-]+$/);
    }),
    { numRuns: 300 },
  );
  assert.ok(granted > 0);
});
