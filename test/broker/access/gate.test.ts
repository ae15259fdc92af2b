/** Who a caller is: exactly one valid credential, or nobody. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { IssuedTokens, issueToken } from '../../../src/access/issued-tokens.js';
import { Gate, type Identity } from '../../../src/broker/access/gate.js';
import { isRevoked } from '../../../src/broker/access/revoked.js';
import { parseRoles } from '../../../src/broker/access/roles.js';
import { BackplaneError } from '../../../src/errors.js';
import { CERTIFICATE_EARLY_MS } from '../../../src/limits.js';

const OWN = 'own-token-'.padEnd(43, 'x');
const nowMs = Date.now();
const alice = issueToken([], 'alice', nowMs + 3_600_000, nowMs);
const issued = { value: new IssuedTokens([alice.entry]), look: async () => undefined };
const token = { token: OWN, file: '/data/token', owner: 'root' };
const WEB = `eyJ${'a'.repeat(20)}.${'b'.repeat(20)}.${'c'.repeat(20)}`;
const webTokens = {
  async verify(presented: string): Promise<Identity> {
    if (presented === WEB) return { name: 'carol', kind: 'jwt', groups: ['soc'] };
    throw new BackplaneError('unauthenticated', 'the web token is not valid');
  },
};
const gateOf = (wanted: boolean) => {
  return new Gate({ token: wanted ? token : undefined, issued, webTokens, logger: pino({ level: 'silent' }) });
};
const spiffe = () => ({ name: 'spiffe://a/node/b', serial: '4F', beginsMs: 1_000 });

test('each credential has its identity', async () => {
  const gate = gateOf(true);
  const { name, kind } = await gate.identify([`Bearer ${alice.token}`], '::1');
  assert.deepEqual([name, kind], ['alice', 'token']);
  assert.equal((await gate.identify([`Bearer ${OWN}`], '::1')).kind, 'local');
  assert.deepEqual(await gate.identify([`Bearer ${WEB}`], '::1'), { name: 'carol', kind: 'jwt', groups: ['soc'] });
  const certified = await gate.identify([], '::1', spiffe);
  assert.deepEqual(certified, {
    ...{ name: 'spiffe://a/node/b', kind: 'certificate' },
    certificate: { serial: '4F', beginsMs: 1_000 },
  });
  assert.equal((await gateOf(false).identify([], '::1')).kind, 'anonymous');
  gate.close();
});

test('more than one credential, and a certificate that names several, are refused whatever they are', async () => {
  const right = `Bearer ${OWN}`;
  const twoNames = () => {
    throw new BackplaneError('unauthenticated', 'the certificate must name at most one URI, names 2');
  };
  for (const wanted of [true, false]) {
    const gate = gateOf(wanted);
    for (const [authorization, certificate] of [
      [[right, right], undefined],
      [[right, `Bearer ${alice.token}`], undefined],
      [[right], spiffe],
      [[''], spiffe],
    ] as const) {
      assert.throws(() => gate.identify(authorization, '::1', certificate), {
        code: 'unauthenticated',
        message: /^more than one/,
      });
    }
    assert.throws(() => gate.identify([], '::1', twoNames), { code: 'unauthenticated', message: /names 2$/ });
    assert.deepEqual([gate.refusals.get('doubled'), gate.refusals.get('certificate')], [4, 1]);
    gate.close();
  }
});

test('a wrong issued token is not anonymous where none is wanted', async () => {
  const gate = gateOf(false);
  await assert.rejects(async () => gate.identify([`Bearer ${alice.token.slice(0, -1)}B`], '::1'), {
    code: 'unauthenticated',
  });
  gate.close();
});

test('a token holds while it is in the file and before its end', async () => {
  const gate = gateOf(true);
  const identity = await gate.identify([`Bearer ${alice.token}`], '::1');
  assert.ok(gate.holds(identity) && gate.holds({ name: 'local', kind: 'local' }));
  assert.ok(!gate.holds({ ...identity, untilMs: Date.now() - 1 }));
  assert.ok(!gate.holds({ ...identity, token: { id: alice.entry.id, sha256: '0'.repeat(64) } }));
  gate.close();
});

test('a certificate that was revoked is refused, and what began with it no longer holds', async () => {
  const made = 1_000 + CERTIFICATE_EARLY_MS;
  const at = (ms: number) => new Date(ms).toISOString();
  for (const [entry, refused] of [
    ['{ serial: "4f" }', true],
    ['{ serial: "00:4F" }', true],
    ['{ serial: "4e" }', false],
    ['{ identity: "spiffe://a/node/b" }', true],
    ['{ identity: "spiffe://a/node/*" }', true],
    ['{ identity: "spiffe://a/node" }', false],
    [`{ identity: "spiffe://a/*", before: "${at(made + 1)}" }`, true],
    [`{ identity: "spiffe://a/*", before: "${at(made)}" }`, false],
  ] as const) {
    const { revoked } = parseRoles(`revoked: [${entry}]`);
    const gate = new Gate({
      ...{ token, logger: pino({ level: 'silent' }) },
      isRevoked: (identity) => isRevoked(revoked, identity),
    });
    const { name, ...certificate } = spiffe();
    assert.equal(gate.holds({ name, kind: 'certificate', certificate }), !refused, entry);
    assert.ok(gate.holds({ name: 'spiffe://a/node/b', kind: 'token' }), 'a token is no certificate');
    if (refused) {
      const told = { code: 'unauthenticated', message: /^the certificate was revoked: join again/ };
      assert.throws(() => gate.identify([], '::1', spiffe), told);
      assert.equal(gate.refusals.get('revoked'), 1);
    } else assert.ok(gate.identify([], '::1', spiffe), entry);
    gate.close();
  }
});

test('whatever headers come, nobody is let in but by a credential of the broker', async () => {
  const gate = gateOf(true);
  const known = new Map([
    [OWN, 'local'],
    [alice.token, 'token'],
    [WEB, 'jwt'],
  ]);
  const part = fc.oneof(
    fc.constantFrom(...known.keys(), 'Bearer', 'bearer', ' ', ',', '\t', 'Basic', '"', '\u0000', 'é'),
    fc.string({ maxLength: 8 }),
    fc.constantFrom('A'.repeat(8_200), 'b'.repeat(8_300)),
  );
  const value = fc.array(part, { maxLength: 5 }).map((parts) => parts.join(''));
  let letIn = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(value, { maxLength: 2 }), async (authorization) => {
      const [, presented = ''] = /^\s*bearer +(\S+)\s*$/i.exec(authorization[0] ?? '') ?? [];
      const expected = authorization.length === 1 ? known.get(presented) : undefined;
      let identity: Identity | undefined;
      try {
        identity = await gate.identify(authorization, '10.0.0.1');
      } catch (cause) {
        assert.equal((cause as { code?: string }).code, 'unauthenticated');
      }
      if (identity !== undefined) letIn++;
      assert.equal(identity?.kind, expected);
    }),
    { numRuns: 1000 },
  );
  assert.ok(letIn < 500);
  gate.close();
});
