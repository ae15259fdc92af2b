/** Cursors come from outside: whatever they say, they are served within the grant. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type CursorState, decodeCursor, encodeCursor } from '../../../src/wire/cursor.js';
import type { SubscribeRequest } from '../../../src/wire/messages.js';
import { DENIED, events, eventsIn, explain, GuardedBroker, ROLES } from '../../harness/access/guarded-broker.js';
import { TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let guarded: GuardedBroker;
before(async () => {
  guarded = await GuardedBroker.start();
});
after(() => guarded.destroy());

/** The first cursor that comes, of a replay that goes on. */
async function cursorOf(request: SubscribeRequest, token: string): Promise<string> {
  const subscriber = guarded.harness.subscribe(request, token);
  const cursor = await until('a cursor', () => subscriber.cursor || undefined);
  subscriber.cancel();
  return cursor;
}

const forged = (cursor: string, change: Partial<CursorState>) => encodeCursor({ ...decodeCursor(cursor), ...change })!;

/** Until alice may replay again what was granted at first. */
const room = () =>
  until('room', async () => {
    const { status } = await guarded.overHttp(events({ since: '50m' }).http, guarded.as('alice'));
    return status === 200;
  });

test('a cursor of another predicate is invalid, also one of more rights; a forged one is served within the grant', async () => {
  await room();
  const asked = { limit: '100' };
  const foreign = await cursorOf({ ...asked, last: 0 }, guarded.own);
  const told = { grpc: 3, http: 400, code: 'cursor_invalid' };
  await guarded.refused(
    events({ ...asked, cursor: foreign }),
    guarded.as('alice'),
    told,
    /^cursor is of another subscription/,
  );
  const cursor = await cursorOf(asked, guarded.identities.token('alice'));
  // As if nothing were delivered yet, of any node, from long ago: its checksum is right.
  const { history } = decodeCursor(cursor);
  assert.ok(history !== undefined);
  const began = forged(cursor, { history: { ...history, wallNs: 0n }, sinceNs: 0n });
  await guarded.refused(
    events({ ...asked, cursor: began }),
    guarded.as('alice'),
    DENIED,
    /^cursor: it stands before the earliest .*, 20\d\d-.*: begin with since$/,
  );
  const zero = { epoch: 0, timeNs: 0n, lane: 0, tie: 0 };
  const late = (node: string) =>
    ({ node, standing: 'late', position: zero, floors: new Map(), owed: new Map() }) as const;
  const nodes = ['prod-old', 'prod-1', 'prod-secret', 'test-1'].map(late);
  const wide = forged(cursor, { history: { ...history, wallNs: history.wallNs + 1n }, sinceNs: 0n, nodes });
  assert.deepEqual(await guarded.replayed({ ...asked, cursor: wide }, guarded.as('alice')), ['prod-1:10', 'prod-1:11']);
});

test('a live cursor that stands before the depth is denied with the earliest', async () => {
  const request = { follow: true, topics: ['process'] };
  const { agent, token } = { agent: await guarded.harness.agent('prod-7'), token: guarded.identities.token('alice') };
  const subscriber = guarded.harness.subscribe(request, token);
  await subscriber.isAccepted();
  agent.recorder.record('process.exec', 70);
  agent.publish();
  await subscriber.has(1);
  const { cursor } = subscriber;
  subscriber.cancel();
  const places = decodeCursor(cursor).places.map(({ offset }) => ({ offset: Math.max(0, offset - 1) }));
  const back = forged(cursor, { places });
  const again = guarded.harness.subscribe({ ...request, cursor: back }, token);
  await again.has(1);
  again.cancel();
  // As if live from long ago, of nodes of which nothing was delivered: recorders are asked for what is granted.
  const late = ['prod-old', 'prod-1', 'prod-secret'].map(
    (node) => ({ node, standing: 'late', position: undefined, floors: new Map(), owed: new Map() }) as const,
  );
  const always = guarded.harness.subscribe({ ...request, cursor: forged(cursor, { sinceNs: 1n, nodes: late }) }, token);
  const told = (node: string) =>
    always.responses.some(({ coverage }) => coverage?.nodes.some((of) => of.node === node));
  await until('the past', () => told('prod-old') && told('prod-1'));
  const longAgo = new TestRecorder('r-8', 1, BigInt(Date.now() - 7_200_000) * 1_000_000n);
  for (const pid of [80, 81]) longAgo.record('process.exec', pid);
  await guarded.harness.agent('prod-8', longAgo);
  await until('the past of a node that comes later', () => told('prod-8'));
  assert.deepEqual(
    always.pids.toSorted((a, b) => a - b),
    [10, 11],
  );
  always.cancel();
  // By the same role with hardly any depth the frame lies before the floor.
  guarded.identities.write(ROLES.replace('history: 1h', 'history: 1ms'));
  await until('the new roles', async () => {
    const { body } = await guarded.overHttp(explain({ follow: true }).http, guarded.as('alice'));
    return (
      /"code":"permission_denied"/.test(
        (await guarded.overHttp(explain({ since: '10m' }).http, guarded.as('alice'))).body,
      ) && body !== ''
    );
  });
  const denied = await guarded.grpc.call(
    '/backplane.v1.Backplane/Subscribe',
    guarded.as('alice')[0],
    events({ ...request, cursor: back }).message,
  );
  assert.deepEqual([denied.status, denied.code], [7, 'permission_denied'], denied.message);
  assert.match(denied.message, /stands before the earliest that may be told, 20/);
  guarded.identities.write(ROLES);
});

test('whatever cursor is made up, nothing comes that is not granted', async () => {
  await room();
  const asked = { limit: '100' };
  const good = await cursorOf(asked, guarded.identities.token('alice'));
  const nowNs = BigInt(Date.now()) * 1_000_000n;
  const near = fc.bigInt(-20_000_000_000_000n, 1_000_000_000n).map((aside) => nowNs + aside);
  const wallNs = fc.oneof(near, fc.bigInt(0n, 2n ** 64n - 1n));
  const node = fc.constantFrom('prod-old', 'prod-1', 'prod-secret', 'test-1', 'zz');
  const position = fc.record({
    epoch: fc.nat(3),
    timeNs: fc.oneof(fc.bigInt(0n, 10_000_000n), fc.bigInt(0n, 2n ** 64n - 1n)),
    lane: fc.nat(3),
    tie: fc.nat(2),
  });
  const standing = fc.oneof(
    fc.record({ node, standing: fc.constant('beyond' as const), position }),
    fc.record({
      node,
      standing: fc.constant('late' as const),
      position: fc.option(position, { nil: undefined }),
      floors: fc.constant(new Map()),
      history: fc.option(fc.record({ wallNs, node, position }), { nil: undefined }),
    }),
  );
  const places = fc.array(fc.record({ offset: fc.nat(50) }), { minLength: 8, maxLength: 8 });
  const change = fc.record(
    {
      history: fc.option(fc.record({ wallNs, node, position }), { nil: undefined }),
      sinceNs: wallNs,
      places,
      nodes: fc.uniqueArray(standing, { selector: (each) => each.node, maxLength: 4 }),
    },
    { requiredKeys: [] },
  );
  // The last one is of the test before.
  const granted = new Set(['prod-1:10', 'prod-1:11', 'prod-7:70']);
  let served = 0;
  await fc.assert(
    fc.asyncProperty(change, async (changed) => {
      const state = { ...decodeCursor(good), ...changed };
      const cursor = encodeCursor(state);
      if (cursor === undefined) return;
      const { status, body } = await guarded.overHttp(events({ ...asked, cursor }).http, guarded.as('alice'));
      assert.ok([200, 400, 403, 410].includes(status), body);
      if (status !== 200) return;
      served++;
      for (const event of eventsIn(body)) assert.ok(granted.has(event), body);
    }),
    { numRuns: 100, includeErrorInReport: true, examples: [[{}], [{ sinceNs: nowNs - 60_000_000_000n }]] },
  );
  assert.ok(served > 0, 'some are served');
});
