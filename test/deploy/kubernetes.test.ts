/**
 * What deploy/kubernetes gives a cluster: kustomize builds it, Kubernetes' types know every key of it, and its commands run
 * as they are written there, with the files that it mounts.
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
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';
import { MISSPELT } from './misspelt.js';
import { find, type Manifest, manifestsIn, Pod } from './pods.js';
import { programOfTrixie } from './trixie.js';

const FOLDER = 'deploy/kubernetes';
/** What people apply. */
const APPLIED = ['single', 'nats', 'prometheus-operator'];
const NODE = 'worker-1';
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
  for (const folder of ['single', 'nats']) {
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
  writeFileSync(join(copy, 'single/jwks.json'), JSON.stringify({ keys: [jwk] }));
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

test('kustomize builds what is applied, and refuses a misspelt key in each of its files', { skip }, () => {
  for (const folder of APPLIED) assert.equal(build(folder).stderr, '', folder);
  for (const folder of [...APPLIED, 'base']) {
    const file = join(copy, folder, 'kustomization.yaml');
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('resources:', `${MISSPELT}:`));
    assert.match(build(folder).stderr, new RegExp(`unknown field "${MISSPELT}"`), folder);
    writeFileSync(file, text);
  }
});

test('the image is of this version', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const text = readFileSync(join(FOLDER, 'single/kustomization.yaml'), 'utf8');
  const { images } = parse(text) as { images: readonly { newTag: string }[] };
  assert.deepEqual(
    images.map(({ newTag }) => newTag),
    [version],
  );
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

async function statusOf(path: string): Promise<number | undefined> {
  const asked = get(`https://${http}${path}`, { ca: readFileSync(own.ca), agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}
