/** One function decides: what it grants never exceeds what the file says, whoever asks for whatever. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authorize, type Wish } from '../../../src/broker/access/authorize.js';
import type { Identity } from '../../../src/broker/access/gate.js';
import { lessened } from '../../../src/broker/access/lessened.js';
import { NO_ROLES, type Policy, parseRoles } from '../../../src/broker/access/roles.js';
import { runs } from '../../harness/runs.js';

const NODE = 'spiffe://backplane/node/';
const certificate = (name: string): Identity => ({ name, kind: 'certificate' });
const token = (name: string): Identity => ({ name, kind: 'token' });
const denied = (run: () => unknown, message: RegExp) => assert.throws(run, { code: 'permission_denied', message });

test('without roles the holder of the broker’s token may everything, agents are their nodes, and others may nothing', () => {
  const wish: Wish = { verbs: ['manage'], nodes: ['a'], topics: ['process'] };
  assert.equal(authorize(NO_ROLES, { name: 'local', kind: 'local' }, wish).whole, true);
  assert.equal(authorize(NO_ROLES, { name: 'anonymous', kind: 'anonymous' }, wish).whole, true);
  denied(
    () => authorize(NO_ROLES, token('alice'), { verbs: ['view'] }),
    /^token "alice" may not do this: there is no file of roles/,
  );
  denied(() => authorize(NO_ROLES, token(`${NODE}a`), { verbs: ['uplink'], helloNode: 'a' }), /may not do this/);
});

test('a certificate is the node that it names: another name, a name that is none and a foreign one are denied', () => {
  const greet = (name: string, helloNode: string) =>
    authorize(NO_ROLES, certificate(name), { verbs: ['uplink'], helloNode }).helloNode;
  assert.equal(greet(`${NODE}web-1`, 'web-1'), 'web-1');
  assert.equal(greet(`${NODE}web-1`, ''), 'web-1');
  denied(() => greet(`${NODE}web-1`, 'web-2'), /is the certificate of the node "web-1", not of "web-2"$/);
  for (const name of ['', 'a/b', '-x', 'ä', 'x'.repeat(254), '{node}', 'a b']) {
    denied(() => greet(NODE + name, name), /is the certificate of no node|may not do this/);
  }
  denied(() => greet('spiffe://other/node/web-1', 'web-1'), /may not do this/);
  denied(
    () => authorize(NO_ROLES, certificate(`${NODE}a`), { verbs: ['subscribe'] }),
    /may not do this: no role grants it the verb "subscribe"/,
  );
});

test('a template of a file takes the place of the built-in one, and its nodes bound it', () => {
  const policy = parseRoles(`
roles: { agent: { verbs: [uplink], node: "x/{node}/y", nodes: ["web-*"], deny: { nodes: [web-9] } } }
bindings: [{ role: agent, identities: ["*"] }]`);
  const greet = (name: string) => authorize(policy, certificate(name), { verbs: ['uplink'], helloNode: '' }).helloNode;
  assert.equal(greet('x/web-1/y'), 'web-1');
  for (const name of ['x/db-1/y', 'x/web-9/y', `${NODE}web-1`, 'x//y', 'x/y']) denied(() => greet(name), /node/);
});

test('an anonymous caller has, once there are roles, what they bind to the kind', () => {
  const anonymous: Identity = { name: 'anonymous', kind: 'anonymous' };
  const roles = 'roles: { r: { verbs: [view] } }\nbindings:\n';
  denied(
    () => authorize(parseRoles(`${roles} - { role: r, identities: ["*"] }`), anonymous, { verbs: ['view'] }),
    /no credential/,
  );
  const bound = parseRoles(`${roles} - { role: r, identities: ["*"], kinds: [anonymous] }`);
  assert.equal(authorize(bound, anonymous, { verbs: ['view'] }).role, 'r');
});

test('groups of a web token bind roles, and of no other credential', () => {
  const policy = parseRoles('roles: { r: { verbs: [view] } }\nbindings: [{ role: r, groups: [soc] }]');
  const of = (kind: Identity['kind'], groups?: readonly string[]) => ({
    name: 'a',
    kind,
    ...(groups ? { groups } : {}),
  });
  assert.equal(authorize(policy, of('jwt', ['x', 'soc']), { verbs: ['view'] }).role, 'r');
  for (const identity of [of('jwt', ['socx']), of('jwt', []), of('jwt'), of('token')]) {
    denied(() => authorize(policy, identity, { verbs: ['view'] }), /no role is bound/);
  }
});

test('a role that is not sound is refused with the place', () => {
  for (const [text, message] of [
    ['roles: { r: { verbs: [fly] } }', /^roles\.r\.verbs\.0: must be of view, subscribe/],
    ['roles: { r: { verbz: [] } }', /^roles\.r: Unrecognized key/],
    ['revoked: [{ serial: 4123 }]', /^revoked\.0\.serial: must be text: put the number in quotes$/],
    ['revoked: [{ serial: "xyz" }]', /^revoked\.0\.serial: must be a serial number in hex/],
    ['revoked: [{}]', /^revoked\.0: must have serial or identity$/],
    ['revoked: [{ serial: "4f", identity: a }]', /^revoked\.0: must have serial or identity$/],
    [
      'revoked: [{ serial: "4f", before: "2026-01-31T12:00:00Z" }]',
      /^revoked\.0: must have before with identity only$/,
    ],
    ['revoked: [{ identity: a, before: yesterday }]', /^revoked\.0\.before: must be a time such as/],
    ['roles: { r: { nodes: ["a b"] } }', /^roles\.r\.nodes: node: must consist of/],
    ['roles: { r: { topics: [proces] } }', /^roles\.r\.topics: unknown topic "proces".*process/],
    ['roles: { r: { history: long } }', /^roles\.r\.history must be a duration/],
    ['roles: { r: { filter: "process.pid ==" } }', /^roles\.r\.filter: filter: column/],
    ['roles: { r: { node: "x" } }', /^roles\.r\.node must have \{node\} once/],
    ['roles: { r: { budgets: { streams: 0 } } }', /^roles\.r\.budgets\.streams: /],
    ['bindings: [{ role: r, identities: [a] }]', /^bindings\.0\.role: there is no role "r"/],
    ['roles: { r: {} }\nbindings: [{ role: r }]', /^bindings\.0 must have identities or groups/],
    ['roles: [', /./],
    ['[]', /^the file: /],
  ] as const) {
    assert.throws(() => parseRoles(text), { code: 'invalid_argument', message });
  }
});

const names = fc.constantFrom('a-1', 'a-2', 'b-1', 'c');
const globs = fc.array(fc.constantFrom('a-*', 'b-*', '*', 'a-1', 'c'), { maxLength: 3 });
const topics = fc.constantFrom('process', 'network', 'file');
const role = fc.record(
  {
    verbs: fc.uniqueArray(fc.constantFrom('view', 'subscribe', 'history', 'manage')),
    topics: fc.uniqueArray(topics),
    nodes: globs,
    history: fc.constantFrom('1h', '1d'),
    filter: fc.constant('process.pid > 1'),
    deny: fc.record({ nodes: globs, topics: fc.uniqueArray(topics, { maxLength: 1 }) }),
  },
  { requiredKeys: ['verbs', 'deny'] },
);
const matches = (list: readonly string[], name: string) =>
  list.some((glob) => new RegExp(`^${glob.replaceAll('*', '.*')}$`).test(name));

test('a grant is within one of the identity’s roles, and without what any of them denies', () => {
  fc.assert(
    fc.property(
      fc.array(role, { minLength: 1, maxLength: 3 }),
      fc.array(names, { maxLength: 2 }),
      fc.array(topics, { maxLength: 2 }),
      fc.constantFrom('view', 'subscribe', 'history', 'manage'),
      fc.bigInt(0n, 200_000_000_000_000n),
      (roles, nodes, named, verb, agoNs) => {
        const file = {
          roles: Object.fromEntries(roles.map((each, at) => [`r${at}`, each])),
          bindings: roles.map((_, at) => ({ role: `r${at}`, identities: ['alice'] })),
        };
        const nowNs = 1_800_000_000_000_000_000n;
        const wish: Wish = { verbs: [verb], nodes, topics: named, nowNs, sinceNs: nowNs - agoNs };
        let grant: ReturnType<typeof authorize>;
        try {
          grant = authorize(parseRoles(JSON.stringify(file)), token('alice'), wish);
        } catch (cause) {
          assert.equal((cause as { code?: string }).code, 'permission_denied');
          return;
        }
        const own = roles[Number(grant.role.slice(1))]!;
        assert.ok(own.verbs.includes(verb));
        for (const node of new Set<string>([...nodes, 'a-1', 'b-1', 'c'])) {
          const may =
            (own.nodes === undefined || matches(own.nodes, node)) &&
            !roles.some(({ deny }) => matches(deny.nodes, node));
          assert.equal(grant.node(node), may, node);
          if ((nodes as readonly string[]).includes(node)) assert.ok(may);
        }
        for (const topic of ['process', 'network', 'file'] as const) {
          const may = (own.topics?.includes(topic) ?? true) && !roles.some(({ deny }) => deny.topics.includes(topic));
          assert.equal(grant.topic(topic), may, topic);
          if (named.includes(topic)) assert.ok(may);
        }
        assert.equal(grant.filter, own.filter);
        const depthNs = own.history && { '1h': 3_600n, '1d': 86_400n }[own.history];
        assert.equal(grant.floorNs, depthNs && nowNs - depthNs * 1_000_000_000n);
        if (verb === 'history' && depthNs !== undefined) assert.ok(agoNs <= depthNs * 1_000_000_000n);
      },
    ),
    { numRuns: 500 },
  );
});

test('of a change that is not on record nothing counts that was not granted before, nor what is not any more', () => {
  const list = (...values: string[]) => fc.option(fc.subarray(values, { minLength: 1 }), { nil: undefined, freq: 2 });
  const role = {
    verbs: fc.subarray(['view', 'subscribe', 'history', 'uplink'], { minLength: 2 }),
    topics: list('process', 'network', 'net*', 'app.a', 'app.*', '*', 'alert'),
    nodes: list('web-1', 'web-2', 'web-*', '*-1', 'db-1'),
    history: fc.constantFrom(undefined, '1h', '2h'),
    filter: fc.constantFrom(undefined, 'process.pid == 1', 'process.pid > 1'),
    deny: fc.option(fc.record({ topics: list('network', 'app.a'), nodes: list('web-2', 'db-*') }), {
      nil: undefined,
      freq: 2,
    }),
  };
  const bound = fc.subarray(['r', 's'], { minLength: 1 });
  // A change of some of it.
  const change = fc.record({ r: fc.record(role, { requiredKeys: [] }), s: fc.constant({}), bound });
  const file = fc.record({ r: fc.record(role), s: fc.record(role), bound });
  const parsed = ({ r, s, bound: names }: { r: object; s: object; bound: readonly string[] }) => {
    const bindings = names.map((name) => ({ role: name, identities: ['*'] }));
    return parseRoles(JSON.stringify({ roles: { r, s }, bindings }));
  };
  const wish = fc.record({
    verbs: fc.constantFrom<Wish['verbs']>(['view'], ['subscribe'], ['history'], ['subscribe', 'history']),
    topics: fc.constantFrom(
      undefined,
      ...['process', 'network', 'app.a', 'app.b', 'app.*', 'alert'].map((each) => [each]),
    ),
    nodes: fc.constantFrom(undefined, ['web-1'], ['web-2'], ['web-3'], ['db-1']),
    sinceNs: fc.constantFrom(undefined, 10n ** 13n - 5_000n * 10n ** 9n, 10n ** 13n - 10n ** 9n),
    nowNs: fc.constant(10n ** 13n),
  });
  const grantOf = (policy: Policy, asked: Wish) => {
    try {
      return authorize(policy, token('alice'), asked);
    } catch {
      return undefined;
    }
  };
  let granted = 0;
  fc.assert(
    fc.property(file, change, wish, (had, changed, asked) => {
      const [before, after] = [parsed(had), parsed({ ...had, bound: changed.bound, r: { ...had.r, ...changed.r } })];
      const grant = grantOf(lessened(before, after), asked);
      if (grant === undefined) return;
      granted++;
      // Of the role that answers: another of the identity's may grant less, or more.
      const only = (policy: Policy): Policy => {
        return { ...policy, bindings: policy.bindings.filter((binding) => binding.role === grant.role) };
      };
      const [old, now] = [grantOf(only(before), asked), grantOf(only(after), asked)];
      assert.ok(old !== undefined && now !== undefined);
      for (const each of [old, now]) {
        for (const name of ['process', 'network', 'app.a', 'alert']) assert.ok(!grant.topic(name) || each.topic(name));
        for (const name of ['web-1', 'web-2', 'web-3', 'db-1']) assert.ok(!grant.node(name) || each.node(name));
        assert.ok(each.floorNs === undefined || (grant.floorNs !== undefined && grant.floorNs >= each.floorNs));
        assert.ok(each.filter === undefined || grant.filter === each.filter);
        assert.ok(!grant.whole || each.whole);
      }
    }),
    { numRuns: runs(2_000) },
  );
  assert.ok(granted > 50, `${granted} were granted`);
});

test('a change that takes nothing away and grants nothing leaves everything as it was', () => {
  const text = `
roles: { r: { verbs: [view], topics: [process, "net*"], nodes: [web-1, "db-*"], filter: process.pid > 1, history: 1h } }
bindings: [{ role: r, identities: [alice] }]`;
  const [before, same] = [parseRoles(text), parseRoles(text)];
  const asked: Wish = { verbs: ['view'], topics: ['network'], nodes: ['db-3', 'web-1'], nowNs: 10n ** 13n };
  const [grant, was] = [lessened(before, same), before].map((policy) => authorize(policy, token('alice'), asked));
  assert.deepEqual([grant?.filter, grant?.floorNs, grant?.nodesWithin], [was?.filter, was?.floorNs, was?.nodesWithin]);
  assert.ok(grant?.filter !== undefined && grant.topic('network') && !grant.topic('file'));
  const agent =
    'roles: { agent: { verbs: [uplink], node: "a/{node}" } }\nbindings: [{ role: agent, identities: ["*"] }]';
  const other = agent.replace('a/{node}', 'a/x/{node}');
  for (const [changed, isNode] of [
    [agent, true],
    [other, false],
  ] as const) {
    const policy = lessened(parseRoles(agent), parseRoles(changed));
    const greet = () => authorize(policy, certificate('a/web-1'), { verbs: ['uplink'], helloNode: '' }).helloNode;
    if (isNode) assert.equal(greet(), 'web-1');
    else denied(greet, /is the certificate of no node/);
  }
});
