/** Three nats-servers with a configuration of deploy/, on addresses and in folders of this machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { join } from 'node:path';
import { ownAddress } from '../own-address.js';
import { until } from '../until.js';
import { natsProgram } from './nats-package.js';

export interface ServerAddresses {
  readonly client: string;
  readonly cluster: string;
  readonly monitor: string;
}

export interface Configuration {
  readonly text: string;
  /** What each server is called by the others, in its place. */
  readonly names: readonly string[];
  /** The variable that says it. */
  readonly variable: string;
  readonly dir: string;
  readonly addresses: readonly ServerAddresses[];
  /** Files in place of those that the text has. */
  readonly files: Readonly<Record<string, string>>;
}

/** @param host undefined: one of its own each */
export async function serverAddresses(host?: string): Promise<readonly ServerAddresses[]> {
  const address = async () => {
    const own = await ownAddress();
    return host === undefined ? own : `${host}:${own.split(':')[1]}`;
  };
  const all: ServerAddresses[] = [];
  for (let at = 0; at < 3; at++)
    all.push({ client: await address(), cluster: await address(), monitor: await address() });
  return all;
}

/** Writes the configuration of one of them. Returns its file. */
function placedConfiguration(configuration: Configuration, at: number): string {
  const { names, dir, addresses, files } = configuration;
  const { client, cluster, monitor } = addresses[at]!;
  const store = join(dir, names[at]!.split('.')[0]!);
  mkdirSync(store, { recursive: true });
  let text = addresses
    .reduce((so, other, index) => so.replace(`${names[index]}:6222`, other.cluster), configuration.text)
    .replace('0.0.0.0:4222', client)
    .replace('0.0.0.0:6222', cluster)
    .replace('0.0.0.0:8222', monitor)
    .replace('"/data"', `"${store}"`)
    .replaceAll('/run/nats/', `${store}/`);
  for (const [from, to] of Object.entries(files)) text = text.replaceAll(from, to);
  const file = join(store, 'nats.conf');
  writeFileSync(file, text);
  return file;
}

/** Resolves when all are healthy, with what ends them. @param ca of their monitoring */
export function startConfigured(configuration: Configuration, ca: string): Promise<() => Promise<void>> {
  const servers = configuration.names.map((name, at) => ({
    file: placedConfiguration(configuration, at),
    monitor: configuration.addresses[at]!.monitor,
    variables: { [configuration.variable]: name.split('.')[0]! },
  }));
  return startServers(servers, ca);
}

export interface ServerFile {
  /** Its configuration. */
  readonly file: string;
  /** Where its configuration has its monitoring, host:port. */
  readonly monitor: string;
  /** Of its environment. */
  readonly variables?: Readonly<Record<string, string>>;
}

/** Likewise. */
export async function startServers(servers: readonly ServerFile[], ca: string): Promise<() => Promise<void>> {
  const children: ChildProcess[] = [];
  let log = '';
  for (const { file, variables } of servers) {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', natsProgram().program, '-c', file], {
      env: { ...variables, PATH: process.env.PATH },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-8_000);
    });
    children.push(child);
  }
  const stop = async () => {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => (child.exitCode === null ? once(child, 'close') : undefined)));
  };
  try {
    for (const { monitor } of servers) {
      await until(
        'a server',
        () => isHealthy(monitor, ca),
        () => log,
      );
    }
    return stop;
  } catch (cause) {
    await stop();
    throw cause;
  }
}

/** As Kubernetes and brokers ask: over TLS, without a certificate. */
async function isHealthy(monitor: string, ca: string): Promise<boolean> {
  const asked = get(`https://${monitor}/healthz`, { ca: readFileSync(ca), agent: false });
  const [response] = (await once(asked, 'response').catch(() => [])) as [IncomingMessage?];
  response?.resume();
  return response?.statusCode === 200;
}
