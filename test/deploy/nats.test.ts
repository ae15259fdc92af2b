/** The servers of deploy/kubernetes/nats as plain processes, with their configuration: who may use them, and who not. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Pair, TestAuthority } from '../harness/access/certificates.js';
import { run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { natsProgram, needsNats } from '../harness/nats/nats-package.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';
import { MISSPELT } from './misspelt.js';

const CONFIGURATION = readFileSync('deploy/kubernetes/nats/nats.conf', 'utf8');
const NAMES = ['backplane-nats-0', 'backplane-nats-1', 'backplane-nats-2'];
const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const skip = needsNats();

interface Server {
  readonly client: string;
  readonly cluster: string;
  readonly monitor: string;
}

/** The configuration with addresses and folders of this machine. */
function placed(text: string, dir: string, at: Server, all: readonly Server[], own: TestAuthority, pair: Pair): string {
  return all
    .reduce((so, { cluster }, index) => so.replace(`${NAMES[index]}.backplane-nats.backplane.svc:6222`, cluster), text)
    .replace('0.0.0.0:4222', at.client)
    .replace('0.0.0.0:6222', at.cluster)
    .replace('0.0.0.0:8222', at.monitor)
    .replace('"/data"', `"${dir}"`)
    .replaceAll('/run/nats/', `${dir}/`)
    .replaceAll('/etc/nats/certificate/nats.crt', pair.cert)
    .replaceAll('/etc/nats/certificate/nats.key', pair.key)
    .replaceAll('/etc/nats/authority/ca.crt', own.ca);
}

async function prepared() {
  const own = await TestAuthority.make('authority');
  const servers: Server[] = [];
  for (const _ of NAMES)
    servers.push({ client: await ownAddress(), cluster: await ownAddress(), monitor: await ownAddress() });
  const hosts = servers.flatMap((server) => Object.values(server) as string[]).map((address) => address.split(':')[0]!);
  const pair = own.write(await own.authority.issue({ kind: 'nats', name: 'nats', hosts }, 3_600_000, Date.now()));
  const dir = scratchDirectory('nats');
  const configuration = (index: number, text = CONFIGURATION) => {
    const store = join(dir, NAMES[index]!);
    mkdirSync(store, { recursive: true });
    const file = join(store, 'nats.conf');
    writeFileSync(file, placed(text, store, servers[index]!, servers, own, pair));
    return file;
  };
  return { own, servers, configuration };
}

test('nats-server takes the configuration, and no misspelt key', { skip }, async () => {
  const { configuration } = await prepared();
  const checked = (text: string) =>
    spawnSync(natsProgram().program, ['-t', '-c', configuration(0, text)], {
      encoding: 'utf8',
      env: { POD_NAME: NAMES[0] },
    });
  const { status, stderr } = checked(CONFIGURATION);
  assert.equal(status, 0, stderr);
  for (const key of ['max_payload:', '  max_file_store:', '  verify:', '  no_advertise:']) {
    assert.ok(CONFIGURATION.includes(key));
    assert.notEqual(checked(CONFIGURATION.replace(key, `${MISSPELT}:`)).status, 0, key);
  }
});

const skipLong = skip || (IS_LONG ? false : 'takes seconds: npm run check');

test('the servers make a cluster for whoever has the certificate of brokers, and nobody else', {
  skip: skipLong,
}, async () => {
  const { own, servers, configuration } = await prepared();
  const children: ChildProcess[] = [];
  let log = '';
  try {
    for (const [index, POD_NAME] of NAMES.entries()) {
      const command = [natsProgram().program, '-c', configuration(index)];
      const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
        env: { POD_NAME, PATH: process.env.PATH },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        log = (log + text).slice(-8_000);
      });
      children.push(child);
    }
    const cluster = async (verb: string, identity: string) => {
      const { cert, key } = await own.client(identity);
      const urls = servers.map(({ client }) => `tls://${client}`).join(',');
      const flags = ['--cluster', 'k', '--nats-ca', own.ca, '--nats-cert', cert, '--nats-key', key];
      return run(['cluster', verb, '--nats', urls, ...flags]);
    };
    for (const { monitor } of servers) {
      await until(
        'a server',
        () => isHealthy(monitor, own.ca),
        () => log,
      );
    }
    const made = await cluster('init', 'broker');
    assert.equal(made.code, 0, made.err);
    const checked = await cluster('check', 'broker');
    assert.equal(checked.code, 0, checked.out + checked.err);
    const refused = await cluster('check', 'web-1');
    assert.notEqual(refused.code, 0);
    assert.match(refused.err, /[Aa]uthoriz|cannot be used|can be used/);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => (child.exitCode === null ? once(child, 'close') : undefined)));
  }
});

/** As Kubernetes and brokers ask: over TLS, without a certificate. */
async function isHealthy(monitor: string, ca: string): Promise<boolean> {
  const asked = get(`https://${monitor}/healthz`, { ca: readFileSync(ca), agent: false });
  const [response] = (await once(asked, 'response').catch(() => [])) as [IncomingMessage?];
  response?.resume();
  return response?.statusCode === 200;
}
