/** What roles grant of topics that are born in the broker: publishing and subscribing, over gRPC and HTTP. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Bus, connect } from '../../../src/client/library/grpc.js';
import { connect as connectByHttp } from '../../../src/client/library/http.js';
import type { BackplaneError } from '../../../src/errors.js';
import { Identities } from '../../harness/access/identities.js';
import { all } from '../../harness/all.js';
import { auditEntries, documentsOf } from '../../harness/broker/documents.js';
import { Harness } from '../../harness/broker/harness.js';
import { credentialIn } from '../../harness/bus/token.js';
import { until } from '../../harness/until.js';

const VERBS = 'verbs: [publish, publish_alert, subscribe, history]';
const ROLES = `
roles:
  deployer: { verbs: [publish, subscribe, history], topics: [app.deploy] }
  pager: { verbs: [publish_alert, subscribe, history], topics: [alert, app.deploy] }
  all: { ${VERBS} }
  starred: { ${VERBS}, topics: ["*"] }
  apps: { ${VERBS}, topics: ["app.*"] }
  but-secret: { ${VERBS}, topics: ["app.*"], deny: { topics: ["app.s*"] } }
  filtered: { ${VERBS}, topics: ["app.*"], filter: 'app.body.team == "shop"' }
  shallow: { ${VERBS}, topics: [app.deploy], history: 1s }
  of-nodes: { ${VERBS}, topics: ["app.*"], nodes: ["prod-*"] }
  of-publisher: { ${VERBS}, topics: ["app.*"], nodes: ["@deployer"] }
bindings:
${['deployer', 'pager', 'all', 'starred', 'apps', 'but-secret', 'filtered', 'shallow', 'of-nodes', 'of-publisher']
  .map((name) => `  - { role: ${name}, identities: [${name}] }\n`)
  .join('')}`;
const NAMES = [...ROLES.matchAll(/identities: \[(.*)\]/g)].map(([, name]) => name!);
const identities = new Identities(ROLES, NAMES);
const harness = new Harness();
const open: Bus[] = [];

before(async () => {
  harness.wantsToken = true;
  harness.access = identities.files;
  await harness.startBroker();
});
after(async () => {
  for (const bus of open) await bus.close();
  await harness.destroy();
});

async function buses(name: string): Promise<readonly Bus[]> {
  const { grpcAddress, httpAddress } = harness.broker;
  const token = name === 'local' ? credentialIn(harness.dataDir)(grpcAddress)?.token : identities.token(name);
  const both = [
    await connect({ brokers: [grpcAddress], token }),
    await connectByHttp({ brokers: [httpAddress], token }),
  ];
  open.push(...both);
  return both;
}

const outcome = (done: Promise<unknown>) =>
  done.then(
    () => 'ok',
    ({ code }: BackplaneError) => code,
  );

test('who publishes needs the verb, and the topic by its name', async () => {
  const denied = 'permission_denied';
  for (const [name, deploy, other, secret, alert] of [
    ['deployer', 'ok', denied, denied, denied],
    ['pager', denied, denied, denied, 'ok'],
    ['all', denied, denied, denied, denied],
    ['starred', denied, denied, denied, denied],
    ['apps', 'ok', 'ok', 'ok', denied],
    ['but-secret', 'ok', 'ok', denied, denied],
    ['local', 'ok', 'ok', 'ok', 'ok'],
  ] as const) {
    for (const bus of await buses(name)) {
      const published = [
        await outcome(bus.publish('app.deploy', { team: 'shop' })),
        await outcome(bus.publish('app.other', { team: 'pay' })),
        await outcome(bus.publish('app.secret', null)),
        await outcome(bus.publish('alert', { id: 'a', severity: 1 })),
      ];
      assert.deepEqual(published, [deploy, other, secret, alert], name);
    }
  }
  const [bus] = await buses('apps');
  await bus!.publish('app.deploy', 1);
  const own = credentialIn(harness.dataDir)(harness.broker.grpcAddress)?.token;
  await until('a refusal on record', async () =>
    (await auditEntries(harness, own)).some(
      ({ action, identity, code }) => action === 'publish_alert' && identity === 'starred' && code === denied,
    ),
  );
});

test('who subscribes has the topics that the role names, and of them what its filter and its nodes let through', async () => {
  // Over HTTP as selectors, each with one of the topics.
  const asked = (byHttp: boolean, topics: readonly string[]) =>
    byHttp ? { selectors: topics.map((topic) => ({ id: topic, topics: [topic] })) } : { topics };
  const topicsOf = async (bus: Bus, byHttp: boolean, ...topics: string[]) => {
    const items = await all(bus.subscribe({ ...asked(byHttp, topics), since: '1h' }));
    return new Set(items.flatMap((item) => (item.kind === 'event' ? [`${item.topic} ${item.node}`] : [])));
  };
  const denied = { code: 'permission_denied' };
  for (const [name, ...topics] of [
    ['deployer', 'app.*'],
    ['deployer', 'app.deploy', 'audit'],
    ['all', 'app.deploy'],
    ['all', 'alert'],
    ['starred', 'audit'],
    ['starred', 'app.*'],
    ['apps', 'alert'],
    ['but-secret', 'app.*'],
    ['but-secret', 'app.secret'],
  ] as const) {
    for (const [at, bus] of (await buses(name)).entries())
      await assert.rejects(topicsOf(bus, at === 1, ...topics), denied, `${name} ${topics}`);
  }
  for (const [name, topic, ...seen] of [
    [
      'deployer',
      'app.deploy',
      'app.deploy @apps',
      'app.deploy @but-secret',
      'app.deploy @deployer',
      'app.deploy @local',
    ],
    ['but-secret', 'app.other', 'app.other @apps', 'app.other @but-secret', 'app.other @local'],
    ['filtered', 'app.*', 'app.deploy @apps', 'app.deploy @but-secret', 'app.deploy @deployer', 'app.deploy @local'],
    ['of-nodes', 'app.*'],
    ['of-publisher', 'app.*', 'app.deploy @deployer'],
  ] as const) {
    for (const [at, bus] of (await buses(name)).entries())
      assert.deepEqual([...(await topicsOf(bus, at === 1, topic))].sort(), seen, name);
  }
});

test('a cursor whose place in a log is from before what may be told is denied', async () => {
  const request = { topics: ['app.deploy'], follow: true };
  const token = identities.token('shallow');
  const live = harness.subscribe(request, token);
  await live.isAccepted();
  const [bus] = await buses('deployer');
  await bus!.publish('app.deploy', 'first');
  await until('the first', () => documentsOf(live).length > 0);
  const cursor = await until('a cursor', () => live.cursor || undefined);
  live.cancel();
  await bus!.publish('app.deploy', 'second');
  await until('the depth to pass it', async () => {
    const again = harness.subscribe({ ...request, cursor }, token);
    await until('an answer', () => again.error !== undefined || again.responses.length > 0);
    again.cancel();
    return again.error?.details.startsWith('cursor: it stands before the earliest');
  });
});

test('a stream of a publisher is refused from the batch on that its role no longer grants', async () => {
  const [bus] = await buses('deployer');
  await bus!.publish('app.deploy', 1);
  identities.write(ROLES.replace('verbs: [publish, subscribe, history], topics: [app.deploy]', 'verbs: [view]'));
  await until('the new roles', async () => (await outcome(bus!.publish('app.deploy', 2))) === 'permission_denied');
  identities.write(ROLES);
  await until('the old roles', async () => (await outcome(bus!.publish('app.deploy', 3))) === 'ok');
});
