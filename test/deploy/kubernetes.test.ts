/**
 * What deploy/kubernetes gives a cluster: kustomize builds it, and its commands run as they are written there, with the files
 * that it mounts. Who knows the keys of its files: keys/.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { parse } from 'yaml';
import { TestAuthority } from '../harness/access/certificates.js';
import { Command } from '../harness/bus/bus.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { type Configuration, serverAddresses, startConfigured } from '../harness/nats/configured-servers.js';
import { needsNats } from '../harness/nats/nats-package.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';
import { find, type Manifest, manifestsIn, Pod } from './pods.js';
import { programOfTrixie } from './trixie.js';

const FOLDER = 'deploy/kubernetes';
/** What people apply. */
const APPLIED = ['single', 'cluster', 'nats', 'prometheus-operator', 'prometheus-adapter'];
const NODE = 'worker-1';
const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const kustomize = programOfTrixie('kustomize');
const skip = kustomize.missing;

let own: TestAuthority;
let grpc: string;
let http: string;
/** A copy with the files that operators make. */
let copy: string;
let sign: (audience: string, account: string) => Promise<string>;
let single: readonly Manifest[];

before(async () => {
  if (skip !== false) return;
  copy = join(scratchDirectory('kubernetes'), 'kubernetes');
  cpSync(FOLDER, copy, { recursive: true });
  [own, grpc, http] = await Promise.all([TestAuthority.make('kubernetes'), ownAddress(), ownAddress()]);
  const hosts = [grpc, http].map((address) => address.split(':')[0]!);
  const { cert, key } = await own.brokerPem(hosts);
  for (const folder of ['single', 'cluster', 'nats']) {
    const certs = join(copy, folder, 'certs');
    mkdirSync(certs);
    for (const name of ['broker', 'nats']) {
      writeFileSync(join(certs, `${name}.crt`), cert);
      writeFileSync(join(certs, `${name}.key`), key);
    }
    cpSync(own.ca, join(certs, 'ca.crt'));
    cpSync(own.caKey, join(certs, 'ca.key'));
  }
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const jwk = { ...(await exportJWK(publicKey)), alg: 'RS256', kid: 'k' };
  for (const folder of ['single', 'cluster'])
    writeFileSync(join(copy, folder, 'jwks.json'), JSON.stringify({ keys: [jwk] }));
  sign = (audience, account) =>
    new SignJWT({ 'kubernetes.io': { namespace: 'backplane', node: { name: NODE } } })
      .setProtectedHeader({ alg: 'RS256', kid: 'k' })
      .setAudience(audience)
      .setSubject(`system:serviceaccount:${account}`)
      .setExpirationTime('1h')
      .sign(privateKey);
  const { status, stdout, stderr } = build('single');
  assert.equal(status, 0, stderr);
  single = manifestsIn(stdout);
});

after(() => Command.killAll());

function build(folder: string) {
  return spawnSync(kustomize.path, ['build', join(copy, folder)], { encoding: 'utf8' });
}

test('kustomize builds what is applied without a word', { skip }, () => {
  for (const folder of APPLIED) assert.equal(build(folder).stderr, '', folder);
});

test('the image is of this version', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  for (const folder of ['single', 'cluster']) {
    const text = readFileSync(join(FOLDER, folder, 'kustomization.yaml'), 'utf8');
    const { images } = parse(text) as { images: readonly { newTag: string }[] };
    assert.deepEqual(
      images.map(({ newTag }) => newTag),
      [version],
    );
  }
});

test('all reach the brokers by the name that their certificate is made for', { skip }, () => {
  const [, name] = /certs init --dir certs --name (\S+)/.exec(readFileSync('docs/deploying.md', 'utf8')) ?? [];
  const service = find(single, 'Service', 'backplane-broker');
  assert.equal(name, `${service.metadata.name}.${service.metadata.namespace}.svc`);
  const agent = find(single, 'DaemonSet', 'backplane-agent').spec.template.spec.containers[0];
  assert.ok(agent.env!.some((variable) => variable.value === `${name}:8484`));
  assert.ok(
    readFileSync(`${FOLDER}/prometheus-operator/service-monitor.yaml`, 'utf8').includes(`serverName: ${name}\n`),
  );
});

test('a broker runs with its files, and an agent joins by the token of its pod', { skip }, async () => {
  const broker = await Pod.of(single, 'StatefulSet', 'backplane-broker', {
    dir: scratchDirectory('broker'),
    flags: { '--grpc-listen': grpc, '--http-listen': http },
    env: { BACKPLANE_BROKERS: grpc },
  });
  await broker.start().says(/^listening on /m);
  for (const path of ['/healthz', '/readyz', '/metrics']) assert.equal(await statusOf(path), 200, path);
  const agent = await Pod.of(single, 'DaemonSet', 'backplane-agent', {
    dir: scratchDirectory('agent'),
    fields: { 'spec.nodeName': NODE },
    token: ({ audience = 'https://kubernetes.default.svc' }, account) => sign(audience, account),
    env: { BACKPLANE_BROKERS: grpc, BACKPLANE_SOURCE: 'synthetic', BACKPLANE_SYNTHETIC_RATE: '10' },
  });
  const running = agent.start();
  await until(
    'its uplink',
    () => running.stderr.includes('uplink connected') || running.goesOn(),
    () => running.said,
  );
  assert.ok(running.stderr.includes(`joined as spiffe://backplane/node/${NODE}`));
  const listed = broker.exec('nodes');
  assert.equal(await listed.exited, 0, listed.stderr);
  assert.match(listed.stdout, new RegExp(`^${NODE} `, 'm'));
});

const skipLong = skip || needsNats() || (IS_LONG ? false : 'takes seconds: npm run check');

test('brokers of a cluster run with their files on the servers, after its job, and an agent is seen by both', {
  skip: skipLong,
}, async (t) => {
  const built = build('cluster');
  assert.equal(built.status, 0, built.stderr);
  const all = manifestsIn(built.stdout);
  const certificate = await natsFor(own);
  t.after(await startConfigured(certificate, own.ca));
  const given = (of: string) => {
    const dir = scratchDirectory(of);
    return { dir, replaced: (text: string) => placedAddresses(text, certificate) };
  };
  const client = await own.client('broker');
  // What operators make for brokers; here of the same authority.
  for (const manifest of all) {
    if (manifest.metadata.name !== 'backplane-nats-client') continue;
    const base64 = (file: string) => readFileSync(file).toString('base64');
    Object.assign(manifest.data!, { 'broker.crt': base64(client.cert), 'broker.key': base64(client.key) });
  }
  for (const said of ['is made', 'is there']) {
    const job = (await Pod.of(all, 'Job', 'backplane-cluster-init', given('init'))).start();
    assert.equal(await job.exited, 0, job.said);
    assert.equal(job.stdout, `cluster backplane ${said}\n`);
  }
  const brokers: { readonly at: string; readonly pod: Pod }[] = [];
  for (const _ of [1, 2]) {
    const at = `${grpc.split(':')[0]}:${(await ownAddress()).split(':')[1]}`;
    const flags = { '--grpc-listen': at, '--http-listen': `${at.split(':')[0]}:0` };
    const env = { BACKPLANE_BROKERS: at };
    const pod = await Pod.of(all, 'Deployment', 'backplane-broker', { ...given('broker'), flags, env });
    await pod.start().says(/^listening on /m);
    brokers.push({ at, pod });
  }
  const agent = await Pod.of(all, 'DaemonSet', 'backplane-agent', {
    dir: scratchDirectory('agent'),
    fields: { 'spec.nodeName': NODE },
    token: ({ audience = 'https://kubernetes.default.svc' }, account) => sign(audience, account),
    env: { BACKPLANE_BROKERS: brokers[1]!.at, BACKPLANE_SOURCE: 'synthetic', BACKPLANE_SYNTHETIC_RATE: '10' },
  });
  const running = agent.start();
  for (const { pod } of brokers) {
    const observe = pod.exec('observe', '--follow', '--limit', '1');
    assert.equal(await observe.exited, 0, observe.said + running.said);
  }
  const nodes = brokers[0]!.pod.exec('nodes');
  await nodes.exited;
  assert.match(nodes.stdout, new RegExp(`^${NODE} `, 'm'));
});

const NATS_NAMES = [0, 1, 2].map((at) => `backplane-nats-${at}.backplane-nats.backplane.svc`);

async function natsFor(authority: TestAuthority): Promise<Configuration> {
  const addresses = await serverAddresses();
  const hosts = addresses.flatMap((server) => Object.values(server) as string[]).map((at) => at.split(':')[0]!);
  const holder = { kind: 'nats', name: 'nats', hosts } as const;
  const { cert, key } = authority.write(await authority.authority.issue(holder, 3_600_000, Date.now()));
  const folder = '/etc/nats';
  const files = {
    [`${folder}/certificate/nats.crt`]: cert,
    [`${folder}/certificate/nats.key`]: key,
    [`${folder}/authority/ca.crt`]: authority.ca,
  };
  const text = readFileSync(`${FOLDER}/nats/nats.conf`, 'utf8');
  return { text, names: NATS_NAMES, variable: 'POD_NAME', dir: scratchDirectory('nats'), addresses, files };
}

function placedAddresses(text: string, { addresses }: Configuration): string {
  return addresses.reduce((so, { client, monitor }, at) => {
    return so.replace(`${NATS_NAMES[at]}:4222`, client).replace(`${NATS_NAMES[at]}:8222`, monitor);
  }, text);
}

async function statusOf(path: string): Promise<number | undefined> {
  const asked = get(`https://${http}${path}`, { ca: readFileSync(own.ca), agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}
