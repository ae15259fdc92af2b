/**
 * A whole cluster as plain processes of this machine: three nats-servers, two brokers, the agent of this node. All talk TLS,
 * with certificates of one authority made for it, and NATS takes brokers only. All of it is in one directory, made anew.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Authority, type Holder, newAuthority } from '../../src/access/authority.js';
import { newToken } from '../../src/access/token.js';
import { MAIN, run } from '../harness/bus/command.js';
import { natsProgram } from '../harness/nats/nats-package.js';

const DAY_MS = 24 * 3_600_000;
/** Until servers that were started serve JetStream, and brokers listen, on a busy machine. */
const START_MS_MAX = 120_000;
const STOP_MS_MAX = 30_000;
const LOG_BYTES = '512MiB';
const CLUSTER = 'local';
const LAST_CHARACTERS_MAX = 2_000;

export interface PlainClusterOptions {
  /** Removed at the beginning and at the end. */
  readonly dir: string;
  /** All listen on this address of the machine. */
  readonly host: string;
  readonly source: 'auto' | 'synthetic';
  /** Called when a process ended by itself. */
  readonly onEnd: (what: string) => void;
}

interface Process {
  readonly name: string;
  readonly child: ChildProcess;
  readonly over: Promise<void>;
}

export class PlainCluster {
  readonly brokers: readonly string[];
  readonly https: readonly string[];
  readonly nats: readonly string[];
  readonly natsVersion: string;
  /** Settings with which commands reach it. */
  readonly config: string;
  readonly node = hostname()
    .split('.')[0]!
    .replace(/[^A-Za-z0-9_-]/g, '-');
  readonly #processes: Process[] = [];
  readonly #options: PlainClusterOptions;
  readonly #program: string;
  #stopping = false;

  private constructor(options: PlainClusterOptions) {
    const { host, dir } = options;
    const { program, version } = natsProgram();
    this.#options = { ...options, dir: resolve(dir) };
    this.#program = program;
    this.natsVersion = version;
    this.nats = [4222, 4223, 4224].map((port) => `${host}:${port}`);
    this.brokers = [8484, 9484].map((port) => `${host}:${port}`);
    this.https = [8485, 9485].map((port) => `${host}:${port}`);
    this.config = join(this.#options.dir, 'client.yaml');
  }

  /** Resolves when all of it runs and the node is connected. Rejects with what is wrong in one sentence, and leaves nothing. */
  static async start(options: PlainClusterOptions): Promise<PlainCluster> {
    const cluster = new PlainCluster(options);
    try {
      await cluster.#start();
      return cluster;
    } catch (cause) {
      await cluster.stop();
      throw cause;
    }
  }

  /** The agent first, so that what it still sends is taken in; then the brokers, then NATS. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { child, over } of this.#processes.reverse()) {
      child.kill('SIGTERM');
      const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
      await over;
      clearTimeout(kill);
    }
    rmSync(this.#options.dir, { recursive: true, force: true });
  }

  /** For an end that waits for nothing; the agent, which has something to take away, is asked to end. */
  kill(): void {
    for (const { name, child } of this.#processes) child.kill(name === 'agent' ? 'SIGTERM' : 'SIGKILL');
  }

  async #start(): Promise<void> {
    const { dir, host, source } = this.#options;
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    await this.#certificates();
    for (const at of this.nats.keys()) this.#startNats(at);
    await Promise.all(this.nats.map((_, at) => this.#untilHealthy(at)));
    await this.#init();
    const token = newToken();
    for (const [at, address] of this.brokers.entries()) {
      const own = join(dir, `broker-${at + 1}`);
      mkdirSync(own);
      // One token for all of the brokers.
      writeFileSync(join(own, 'token'), `${token}\n`, { mode: 0o600 });
      const listen = ['--grpc-listen', address, '--http-listen', this.https[at]!];
      const tls = ['--tls-cert', this.#file('broker.crt'), '--tls-key', this.#file('broker.key')];
      const monitors = this.nats.map((_, server) => `https://${host}:${8222 + server}`).join(',');
      const args = ['broker', ...listen, ...tls, '--tls-client-ca', this.#file('ca.crt'), '--data-dir', own];
      this.#command(`broker-${at + 1}`, [...args, ...this.#natsFlags(), '--nats-monitor', monitors]);
    }
    await Promise.all(
      this.https.map((address) => this.#until(`${address} is ready`, () => this.#answers(`https://${address}/readyz`))),
    );
    const brokers = this.brokers.join(',');
    writeFileSync(
      this.config,
      `brokers: [${brokers}]\ntls: { ca: ${this.#file('ca.crt')} }\ntoken: { file: ${join(dir, 'broker-1', 'token')} }\n`,
    );
    const tls = [
      '--tls-ca',
      this.#file('ca.crt'),
      '--tls-cert',
      this.#file('node.crt'),
      '--tls-key',
      this.#file('node.key'),
    ];
    const agent = ['agent', '--broker', brokers, '--node-name', this.node, '--source', source, ...tls];
    this.#command('agent', [...agent, '--data-dir', join(dir, 'agent')]);
    await this.#until('the node is connected', async () => {
      return /NODE_STATE_(CONNECTED|DEGRADED)/.test(await this.#said('nodes', '-o', 'json'));
    });
  }

  #file(name: string): string {
    return join(this.#options.dir, name);
  }

  async #certificates(): Promise<void> {
    const nowMs = Date.now();
    const authority = await newAuthority(`Backplane CA of ${this.node}`, nowMs);
    this.#write('ca', authority);
    const signing = new Authority(this.#file('ca.crt'), this.#file('ca.key'));
    const hosts = [this.#options.host];
    const holders: readonly (readonly [string, Holder])[] = [
      ['nats', { kind: 'nats', name: 'nats', hosts }],
      ['broker', { kind: 'broker', name: 'broker', hosts }],
      // What brokers show NATS.
      ['client', { kind: 'client', name: 'broker', hosts: [] }],
      ['node', { kind: 'node', name: this.node, hosts: [] }],
    ];
    for (const [name, holder] of holders) this.#write(name, await signing.issue(holder, 365 * DAY_MS, nowMs));
  }

  #write(name: string, { cert, key }: { readonly cert: string; readonly key: string }): void {
    writeFileSync(this.#file(`${name}.crt`), cert);
    writeFileSync(this.#file(`${name}.key`), key, { mode: 0o600 });
  }

  #startNats(at: number): void {
    const { host } = this.#options;
    const name = `nats-${at + 1}`;
    const tls = `cert_file: "${this.#file('nats.crt')}", key_file: "${this.#file('nats.key')}", ca_file: "${this.#file('ca.crt')}"`;
    const routes = this.nats.map((_, other) => `tls://${host}:${6222 + other}`).filter((_, other) => other !== at);
    const configuration = [
      `server_name: ${name}`,
      `listen: "${this.nats[at]}"`,
      `https: "${host}:${8222 + at}"`,
      `tls { ${tls}, verify_and_map: true }`,
      'authorization { users: [{ user: "spiffe://backplane/client/broker" }] }',
      `jetstream { store_dir: "${this.#file(name)}", max_file_store: 16GB, sync_interval: always }`,
      `cluster { name: ${CLUSTER}, listen: "${host}:${6222 + at}", tls { ${tls}, verify: true }, routes: ${JSON.stringify(routes)} }`,
    ];
    writeFileSync(this.#file(`${name}.conf`), `${configuration.join('\n')}\n`);
    this.#run(name, this.#program, ['-c', this.#file(`${name}.conf`)]);
  }

  #natsFlags(): string[] {
    const files = [
      '--nats-ca',
      this.#file('ca.crt'),
      '--nats-cert',
      this.#file('client.crt'),
      '--nats-key',
      this.#file('client.key'),
    ];
    return ['--nats', this.nats.map((address) => `tls://${address}`).join(','), '--cluster', CLUSTER, ...files];
  }

  async #init(): Promise<void> {
    let said = '';
    const made = async () => {
      const { code, err } = await run(['cluster', 'init', ...this.#natsFlags(), '--log-bytes-max', LOG_BYTES]);
      said = err.trim();
      // What was made before an answer was lost is there.
      return code === 0 || said.includes(`cluster ${CLUSTER} exists`);
    };
    await this.#until('the streams are made', made, () => said);
  }

  async #said(...args: string[]): Promise<string> {
    return (await run(args, { BACKPLANE_CONFIG: this.config })).out;
  }

  #untilHealthy(at: number): Promise<void> {
    const url = `https://${this.#options.host}:${8222 + at}/healthz`;
    return this.#until(`nats-${at + 1} serves JetStream`, () => this.#answers(url));
  }

  async #answers(url: string): Promise<boolean> {
    const asked = get(url, { ca: readFileSync(this.#file('ca.crt')), agent: false, timeout: 5_000 });
    asked.on('timeout', () => asked.destroy(new Error('it does not answer')));
    const [response] = await once(asked, 'response').catch(() => []);
    response?.resume();
    return response?.statusCode === 200;
  }

  async #until(what: string, holds: () => Promise<boolean>, why = () => ''): Promise<void> {
    for (const endMs = performance.now() + START_MS_MAX; performance.now() < endMs; await sleep(200)) {
      const ended = this.#processes.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
      if (ended !== undefined) throw new Error(`${ended.name} ended: see ${this.#log(ended.name)}`);
      if (await holds()) return;
    }
    throw new Error(`not within ${START_MS_MAX / 1000} s: ${what}${why() && `: ${why()}`}`);
  }

  #command(name: string, args: readonly string[]): void {
    this.#run(name, process.execPath, [MAIN, ...args]);
  }

  #log(name: string): string {
    return this.#file(`${name}.log`);
  }

  /** Whatever becomes of this process, it is asked to end. Ctrl-C reaches only this one, which ends all in order. */
  #run(name: string, program: string, args: readonly string[]): void {
    const { PATH, HOME } = process.env;
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH, HOME },
      detached: true,
    });
    const log = createWriteStream(this.#log(name));
    for (const output of [child.stdout, child.stderr]) output.pipe(log, { end: false });
    // Its log is removed with the rest: what it said last is told.
    let last = '';
    child.stderr.on('data', (bytes: Buffer) => {
      last = (last + bytes.toString()).slice(-LAST_CHARACTERS_MAX);
    });
    const over = new Promise<void>((ended) => {
      child.once('error', () => ended());
      child.once('close', () => ended());
    });
    void over.then(() => {
      log.end();
      if (!this.#stopping) this.#options.onEnd(`${name} ended: ${last.trim().split('\n').at(-1) || child.exitCode}`);
    });
    this.#processes.push({ name, child, over });
  }
}
