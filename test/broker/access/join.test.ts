/** How nodes get certificates: join tokens, each used once, and renewals. */
import assert from 'node:assert/strict';
import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { afterEach, before, beforeEach, test } from 'node:test';
import { newSigningRequest, requestedKey, spiffeId } from '../../../src/access/authority.js';
import { certificateIdentity } from '../../../src/access/certificate-identity.js';
import { join, type NodeCertificate, renew } from '../../../src/access/join.js';
import { checkJoinToken, joinTokenText, newJoinToken, parseJoinToken } from '../../../src/access/join-token.js';
import { inTheClear, securedBy } from '../../../src/access/secure-channel.js';
import { checkJoinState, JoinTokens } from '../../../src/broker/access/join/join-tokens.js';
import { StateFile } from '../../../src/broker/cluster/embedded/state-file.js';
import { createJoinToken } from '../../../src/client/create-join-token.js';
import type { BackplaneError } from '../../../src/errors.js';
import { JOIN_TOKEN_MS, JOIN_TOKENS_MAX, SIGNING_REQUEST_BYTES_MAX } from '../../../src/limits.js';
import { createJoinClient } from '../../../src/wire/grpc/rpc.js';
import { TestAuthority } from '../../harness/access/certificates.js';
import { Identities } from '../../harness/access/identities.js';
import { auditEntries } from '../../harness/broker/documents.js';
import { GrpcCaller } from '../../harness/broker/grpc-call.js';
import { Harness } from '../../harness/broker/harness.js';
import { credentialIn } from '../../harness/bus/token.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const DAY_MS = 86_400_000;
let own: TestAuthority;
let harness: Harness;

before(async () => {
  own = await TestAuthority.make('join');
});
beforeEach(async () => {
  harness = new Harness();
  harness.wantsToken = true;
  harness.tls = { ...(await own.broker()), signs: { key: own.caKey, validMs: DAY_MS } };
  await harness.startBroker();
});
afterEach(() => harness.destroy());

const believing = () => securedBy({ ca: own.ca, own: undefined });

async function token(...nodes: string[]) {
  const { grpcAddress } = harness.broker;
  const answer = await createJoinToken([grpcAddress], credentialIn(harness.dataDir), believing(), nodes);
  const leftMs = Number(answer.expires?.seconds) * 1000 - Date.now();
  assert.ok(leftMs > JOIN_TOKEN_MS - 60_000 && leftMs <= JOIN_TOKEN_MS);
  return checkJoinToken('the answer', answer.token);
}

function identity({ own: pem }: NodeCertificate): string {
  return certificateIdentity(new X509Certificate(pem).toLegacyObject());
}

/** With the node's own certificate. */
function shown(certificate: NodeCertificate) {
  const { cert } = own.write({ cert: certificate.own, key: '' });
  return securedBy({ ca: own.ca, own: { cert, key: cert } });
}

test('a node joins by a token and is let in as that node only', async () => {
  const { grpcAddress } = harness.broker;
  const certificate = await join(grpcAddress, await token('web-1'), 'web-1');
  assert.equal(identity(certificate), spiffeId({ kind: 'node', name: 'web-1' }));
  const made = new X509Certificate(certificate.own);
  const leftMs = Date.parse(made.validTo) - Date.now();
  assert.ok(leftMs > DAY_MS - 60_000 && leftMs <= DAY_MS, made.validTo);
  assert.equal(certificate.authorities, readFileSync(own.ca, 'utf8').trimEnd() + certificate.authorities.slice(-1));
  const audit = await auditEntries(harness, credentialIn(harness.dataDir)(grpcAddress)?.token);
  assert.deepEqual(
    audit.map(({ action, serial }) => [action, serial]),
    [
      ['create_join_token', undefined],
      ['join', made.serialNumber],
    ],
  );
  assert.ok(!JSON.stringify(audit).includes('bpj.'));
});

test('a token is used once, also by those who use it at once, and over a restart', async () => {
  const { grpcAddress } = harness.broker;
  const once = await token('web-*');
  const tries = await Promise.allSettled(Array.from({ length: 12 }, (_, at) => join(grpcAddress, once, `web-${at}`)));
  const refused = tries.filter((each) => each.status === 'rejected');
  assert.equal(tries.length - refused.length, 1);
  for (const { reason } of refused) {
    assert.equal((reason as BackplaneError).code, 'unauthenticated');
    assert.match((reason as BackplaneError).message, /was used, or is older than 15 minutes: make another/);
  }
  const unused = await token('db-1');
  await harness.broker.abort();
  await harness.startBroker();
  await assert.rejects(join(harness.broker.grpcAddress, once, 'web-1'), { code: 'unauthenticated' });
  assert.ok(await join(harness.broker.grpcAddress, unused, 'db-1'));
  const kept = readFileSync(joinPath(harness.dataDir, 'broker', 'join-tokens.json'), 'utf8');
  assert.ok(!kept.includes(unused.secret) && !kept.includes(once.secret));
});

test('a token of another node, with another secret or of another authority is refused, and stays unused', async () => {
  const { grpcAddress } = harness.broker;
  const good = await token('web-1', 'web-2*');
  await assert.rejects(join(grpcAddress, good, 'db-1'), {
    code: 'permission_denied',
    message: /not for a node of the name db-1/,
  });
  const guessed = { ...good, secret: newJoinToken('').secret };
  await assert.rejects(join(grpcAddress, guessed, 'web-1'), { code: 'unauthenticated' });
  const elsewhere = { ...good, pin: randomBytes(32).toString('base64url') };
  await assert.rejects(join(grpcAddress, elsewhere, 'web-1'), {
    code: 'unavailable',
    message: /is not believed: it does not show the CA that the join token names$/,
  });
  assert.ok(await join(grpcAddress, good, 'web-22'));
});

test('a broker with a right authority and a certificate for another name is not told the token', async () => {
  await harness.broker.abort();
  harness.tls = { ...(await own.broker(['elsewhere.example'])), signs: { key: own.caKey, validMs: DAY_MS } };
  await harness.startBroker();
  const made = newJoinToken(own.authority.pin);
  await assert.rejects(join(harness.broker.grpcAddress, made, 'web-1'), {
    code: 'unavailable',
    message: /no secure connection to the broker at \S+: its certificate is for another name \(/,
  });
});

test('only the certificate of a node is renewed, for that node', async () => {
  const { grpcAddress } = harness.broker;
  const first = await join(grpcAddress, await token('web-1'), 'web-1');
  const next = await renew(grpcAddress, shown(first)(grpcAddress));
  assert.equal(identity(next), identity(first));
  assert.ok(new X509Certificate(next.own).serialNumber !== new X509Certificate(first.own).serialNumber);
  assert.ok(await renew(grpcAddress, shown(next)(grpcAddress)));
  const alice = await own.client('alice');
  const refused = { code: 'permission_denied' };
  await assert.rejects(renew(grpcAddress, securedBy({ ca: own.ca, own: alice })(grpcAddress)), refused);
  await assert.rejects(renew(grpcAddress, believing()(grpcAddress)), { code: 'unauthenticated' });
  // Whoever has the broker's own token may do everything, but is no node.
  const { request: signingRequest } = await newSigningRequest();
  const { token: local } = credentialIn(harness.dataDir)(grpcAddress)!;
  const client = createJoinClient(grpcAddress, believing()(grpcAddress), local);
  const failure = await new Promise<{ code?: number } | null>((resolve) => {
    client.renew({ signingRequest }, (error) => resolve(error));
  });
  assert.equal(failure?.code, 7);
  client.close();
});

test('join tokens are made by who may, for nodes that can be', async () => {
  const { grpcAddress } = harness.broker;
  const asked = (nodes: string[], credential = credentialIn(harness.dataDir)) =>
    createJoinToken([grpcAddress], credential, believing(), nodes);
  await assert.rejects(asked([]), {
    code: 'invalid_argument',
    message: /^nodes: must be 1 to 256 names or globs, got 0$/,
  });
  await assert.rejects(asked(['a b']), { code: 'invalid_argument' });
  await assert.rejects(
    asked(['web-1'], () => undefined),
    { code: 'unauthenticated' },
  );
  const node = securedBy({ ca: own.ca, own: await own.client('web-1', 'node') });
  // Who may not is told just this, whatever else is wrong.
  for (const nodes of [['web-1'], [], ['a b']]) {
    const asking = createJoinToken([grpcAddress], () => undefined, node, nodes);
    await assert.rejects(asking, { code: 'permission_denied' });
  }
});

test('who may neither renew nor make tokens is not told what a broker signs, nor what is wrong with the request', async () => {
  await harness.broker.abort();
  const identities = new Identities('roles: { viewer: { verbs: [view] } }\nbindings: []', ['nobody']);
  harness.tls = undefined;
  harness.access = identities.files;
  await harness.startBroker();
  const grpc = new GrpcCaller(harness.broker.grpcAddress);
  for (const call of ['CreateJoinToken', 'Renew']) {
    for (const message of [Buffer.alloc(0), Buffer.from('no message at all')]) {
      const { status, code } = await grpc.call(
        `/backplane.v1.Join/${call}`,
        `Bearer ${identities.token('nobody')}`,
        message,
      );
      assert.deepEqual([status, code], [7, 'permission_denied'], call);
    }
  }
  grpc.close();
});

test('a broker without its authority’s key, or without TLS, signs nothing', async () => {
  await harness.broker.abort();
  harness.tls = await own.broker();
  await harness.startBroker();
  const refused = { code: 'failed_precondition', message: /has no|give it its CA's key, --tls-ca-key$/ };
  await assert.rejects(token('web-1'), refused);
  await assert.rejects(join(harness.broker.grpcAddress, newJoinToken(own.authority.pin), 'web-1'), refused);
  await harness.broker.abort();
  harness.tls = undefined;
  await harness.startBroker();
  const { grpcAddress } = harness.broker;
  await assert.rejects(createJoinToken([grpcAddress], credentialIn(harness.dataDir), inTheClear, ['a']), refused);
});

test('a token ends after its time, and those that ended make room', async () => {
  let nowMs = 1_000_000;
  const dir = scratchDirectory('tokens');
  const options = {
    dir,
    name: 'join-tokens',
    check: checkJoinState,
    upgrade: () => [],
    consequence: '',
    warn: assert.fail,
  };
  const tokens = new JoinTokens(new StateFile(options), () => nowMs);
  const { text, endsMs } = await tokens.create(['web-1'], 'x'.repeat(43));
  assert.equal(endsMs, nowMs + JOIN_TOKEN_MS);
  nowMs = endsMs - 1;
  tokens.check(text, 'web-1');
  nowMs = endsMs;
  assert.throws(() => tokens.check(text, 'web-1'), { code: 'unauthenticated' });
  await Promise.all(Array.from({ length: JOIN_TOKENS_MAX }, () => tokens.create(['a'], 'x'.repeat(43))));
  await assert.rejects(tokens.create(['a'], 'x'.repeat(43)), { code: 'resource_exhausted' });
  nowMs += JOIN_TOKEN_MS;
  assert.ok(await tokens.create(['a'], 'x'.repeat(43)));
  assert.equal(new StateFile(options).entries('join.').length, 1);
});

test('what is no join token is refused without being shown', () => {
  const good = joinTokenText(newJoinToken('p'.repeat(43)));
  assert.ok(parseJoinToken(good));
  for (const text of [
    '',
    'bpj',
    good.slice(0, -1),
    `${good}x`,
    good.replace('bpj.', 'bpx.'),
    good.replaceAll('.', '_'),
  ]) {
    assert.throws(
      () => checkJoinToken('--join-token', text),
      (error: BackplaneError) =>
        error.code === 'invalid_argument' && (text.length < 5 || !error.message.includes(text.slice(4))),
    );
  }
});

test('only a signing request that is whole and signed with its own key has a key', async () => {
  const { key, request } = await newSigningRequest();
  const expected = createPublicKey(key).export({ type: 'spki', format: 'der' });
  assert.deepEqual(await requestedKey(request), expected);
  const refused = (bytes: Buffer) => assert.rejects(requestedKey(bytes), { code: 'invalid_argument' });
  await refused(Buffer.alloc(0));
  await refused(Buffer.alloc(SIGNING_REQUEST_BYTES_MAX + 1));
  for (let count = 0; count < 64; count += 1) await refused(randomBytes(count * 8));
  for (let at = 0; at < request.length; at += 1) {
    await refused(request.subarray(0, at));
    const changed = Buffer.from(request);
    changed[at]! ^= 1 << (at % 8);
    // Where the change is in the encoding only, the key may be the same, but never another.
    const got = await requestedKey(changed).catch((error: unknown) => {
      assert.equal((error as BackplaneError).code, 'invalid_argument');
      return expected;
    });
    assert.deepEqual(got, expected, `byte ${at}`);
  }
});
