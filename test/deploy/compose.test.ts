/** docker-compose.yml, held to docker-compose itself; and what it starts, as plain processes with its commands and files. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parse } from 'yaml';
import { Command, MAIN } from '../harness/bus/bus.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { serverAddresses, startConfigured } from '../harness/nats/configured-servers.js';
import { needsNats } from '../harness/nats/nats-package.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';
import { programOfTrixie } from './trixie.js';

const FILE = 'docker-compose.yml';
const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const compose = programOfTrixie('docker-compose');

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
}

const document = parse(readFileSync(FILE, 'utf8'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
};

after(() => Command.killAll());

test('docker-compose takes the file without a word', { skip: compose.missing }, () => {
  const { status, stdout, stderr } = spawnSync(compose.path, ['-f', FILE, 'config', '--quiet'], { encoding: 'utf8' });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

/** The first container path of each volume, and the folder that stands for it. */
class Volumes {
  readonly dir = scratchDirectory('volumes');

  folder(name: string): string {
    const folder = name.startsWith('./') ? name : join(this.dir, name);
    if (!name.startsWith('./')) mkdirSync(folder, { recursive: true });
    return folder;
  }

  /** What a service says, with folders in place of its volumes. */
  placed(text: string, { volumes = [] }: Service): string {
    const places = volumes
      .map((volume) => volume.split(':'))
      .filter(([name]) => !name!.startsWith('/'))
      .map(([name, path]) => [path!, this.folder(name!)] as const)
      .sort(([a], [b]) => b.length - a.length);
    for (const [path, folder] of places) {
      if (text === path) return folder;
      text = text.replaceAll(`${path}/`, `${folder}/`);
    }
    return text;
  }

  environment(service: Service): Record<string, string> {
    const own = Object.entries(service.environment ?? {}).map(([name, value]) => [
      name,
      this.placed(value.replace(/\$\{\w+:-(.*)\}/, '$1'), service),
    ]);
    // As the image has it.
    const data = service.volumes?.find((volume) => volume.endsWith(':/data'))?.split(':')[0];
    return { ...(data && { BACKPLANE_DATA_DIR: this.folder(data) }), ...Object.fromEntries(own) };
  }
}

const skip =
  process.getuid?.() !== 0
    ? 'needs root'
    : spawnSync('promtool', ['--version']).status !== 0
      ? 'needs prometheus and promtool (package prometheus)'
      : needsNats() || (IS_LONG ? false : 'takes seconds: npm run check');

test('what it starts runs as plain processes, with its commands, certificates and settings', { skip }, async (t) => {
  const volumes = new Volumes();
  makeCertificates(volumes);
  const { services } = document;
  const { agent, prometheus } = services as Record<'agent' | 'prometheus', Service>;
  const placeNats = await startNats(volumes, (stop) => t.after(stop));
  const brokers: { readonly grpc: string; readonly http: string; readonly env: Record<string, string> }[] = [];
  const init = services['cluster-init']!;
  const words = placeNats(init.command!.map((word) => volumes.placed(word, init)));
  for (const said of ['is made', 'is there']) {
    const made = new Command(words.slice(1), {});
    assert.equal(await made.exited, 0, made.said);
    assert.equal(made.stdout, `cluster compose ${said}\n`);
  }
  for (const name of ['broker-1', 'broker-2']) {
    const broker = services[name]!;
    // The certificates are for 127.0.0.1, too.
    const args = broker.command!.map((word) => volumes.placed(word.replace(/0\.0\.0\.0:\d+/, '127.0.0.1:0'), broker));
    const said = await new Command(placeNats(args), volumes.environment(broker)).says(/^listening on .* and /m);
    const [, grpc = '', http = ''] = /listening on (\S+) \(gRPC\) and https:\/\/(\S+)/.exec(said) ?? [];
    brokers.push({ grpc, http, env: { ...volumes.environment(broker), BACKPLANE_BROKERS: grpc } });
    const status = new Command(broker.healthcheck!.test.slice(2), brokers.at(-1)!.env);
    assert.equal(await status.exited, 0, status.said);
    await until('that a power cut loses nothing', async () => {
      const again = new Command(['status'], brokers.at(-1)!.env);
      await again.exited;
      return /^durability: +always$/m.test(again.stdout);
    });
  }
  const all = brokers.map(({ grpc }) => grpc).join(',');
  assert.equal(agent.environment!['BACKPLANE_BROKERS'], 'broker-1:8484,broker-2:8484');
  const agentEnv = { ...volumes.environment(agent), BACKPLANE_BROKERS: all, BACKPLANE_SOURCE: 'synthetic' };
  const node = volumes.environment(agent)['BACKPLANE_NODE_NAME'];
  const running = new Command([...agent.command!], agentEnv);
  for (const { env } of brokers) {
    await until(
      'the node',
      async () => {
        const nodes = new Command(['nodes'], env);
        await nodes.exited;
        return new RegExp(`^${node} `, 'm').test(nodes.stdout) || running.goesOn();
      },
      () => running.said,
    );
    const observe = new Command(['observe', '--follow', '--limit', '1'], env);
    assert.equal(await observe.exited, 0, observe.said);
  }
  await scraped(
    volumes,
    prometheus,
    brokers.map(({ http }) => http),
    await ownAddress(),
  );
});

/** Returns what puts the addresses of the servers into a command. */
async function startNats(volumes: Volumes, onStop: (stop: () => Promise<void>) => void) {
  const addresses = await serverAddresses('127.0.0.1');
  const service = document.services['nats-1']!;
  const files = Object.fromEntries(
    ['ca.crt', 'own.crt', 'own.key'].map((name) => [`/certs/${name}`, volumes.placed(`/certs/${name}`, service)]),
  );
  const text = readFileSync('deploy/docker/nats.conf', 'utf8');
  const names = ['nats-1', 'nats-2', 'nats-3'];
  const configuration = { text, names, variable: 'SERVER_NAME', dir: scratchDirectory('nats'), addresses, files };
  onStop(await startConfigured(configuration, files['/certs/ca.crt']!));
  return (words: readonly string[]) =>
    words.map((word) =>
      names.reduce((so, name, at) => {
        const { client, monitor } = addresses[at]!;
        return so.replace(`${name}:4222`, client).replace(`${name}:8222`, monitor);
      }, word),
    );
}

function makeCertificates(volumes: Volumes): void {
  const { certificates } = document.services as Record<'certificates', Service>;
  const bin = scratchDirectory('bin');
  writeFileSync(join(bin, 'backplane'), `#!/bin/sh\nexec ${process.execPath} ${MAIN} "$@"\n`);
  chmodSync(join(bin, 'backplane'), 0o755);
  const dir = scratchDirectory('certs');
  // The folders of its volumes, all in one.
  for (const volume of certificates.volumes!) {
    const [name = '', path = ''] = volume.split(':');
    if (path.startsWith('/certs/'))
      spawnSync('ln', ['-s', volumes.folder(name), join(dir, path.slice('/certs/'.length))]);
  }
  const [, script = ''] = certificates.entrypoint!;
  const source = volumes.placed(script, certificates);
  const env = { ...process.env, ...volumes.environment(certificates), PATH: `${bin}:${process.env.PATH}` };
  const made = () => {
    const { status, stderr } = spawnSync('sh', [source, dir], { env, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  };
  made();
  const authority = readFileSync(join(dir, 'authority/ca.crt'), 'utf8');
  made();
  assert.equal(readFileSync(join(dir, 'authority/ca.crt'), 'utf8'), authority, 'the authority stays');
  for (const [folder, uid] of [
    ['broker', 1000],
    ['nats', 1000],
    ['broker/nats', 1000],
    ['agent', 0],
    ['prometheus', 65_534],
    ['grafana', 472],
  ] as const) {
    const { mode, uid: owner } = statSync(join(dir, folder, 'own.key'));
    assert.deepEqual([mode & 0o777, owner], [0o600, uid], folder);
  }
}

/** The real Prometheus with the files of docker-compose.yml finds the broker, and answers who shows Grafana's certificate. */
async function scraped(volumes: Volumes, service: Service, brokers: readonly string[], address: string): Promise<void> {
  const dir = scratchDirectory('prometheus');
  const file = (name: string, text = readFileSync(`deploy/docker/${name}.yaml`, 'utf8')) => {
    writeFileSync(
      join(dir, `${name}.yaml`),
      brokers
        .reduce((so, broker, at) => so.replace(`broker-${at + 1}:8485`, broker), volumes.placed(text, service))
        .replaceAll('15s', '500ms'),
    );
    return join(dir, `${name}.yaml`);
  };
  writeFileSync(join(dir, 'backplane.rules.yaml'), readFileSync('deploy/prometheus/backplane.rules.yaml'));
  const flags = [`--config.file=${file('prometheus')}`, `--web.config.file=${file('prometheus-web')}`];
  execFileSync('promtool', ['check', 'config', join(dir, 'prometheus.yaml')]);
  execFileSync('promtool', ['check', 'web-config', join(dir, 'prometheus-web.yaml')]);
  const child = spawn('prometheus', [...flags, `--storage.tsdb.path=${dir}`, `--web.listen-address=${address}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-4_000);
  });
  try {
    const certs = volumes.folder('grafana-certificate');
    const [ca, cert, key] = ['ca.crt', 'client/own.crt', 'client/own.key'].map((name) =>
      readFileSync(join(certs, name)),
    );
    const up = async () =>
      /"value":\[[^\]]*"2"\]/.test(
        await asked(address, '/api/v1/query?query=sum(up)', { ca, cert, key }).catch(() => ''),
      );
    await until('a scrape', up, () => log);
    await assert.rejects(asked(address, '/api/v1/query?query=up', { ca }), /alert|reset|ECONN/i);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
}

interface Credentials {
  readonly ca: Buffer | undefined;
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
}

async function asked(address: string, path: string, credentials: Credentials): Promise<string> {
  const call = request(`https://${address}${path}`, { ...credentials, servername: 'prometheus', agent: false }).end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return Buffer.concat(await response.toArray()).toString();
}
