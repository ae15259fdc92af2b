/**
 * Real nats-servers with JetStream, one or three, on addresses and in directories of their own. They end with the test
 * process, also where it is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchDirectory } from '../files/scratch-directory.js';
import { ownAddress } from '../own-address.js';
import { until } from '../until.js';
import { type NatsVersion, natsProgram } from './nats-package.js';

/** Where one of them runs. */
export interface NatsPlace {
  /** An address that it has for itself: the ports are NATS's usual ones. */
  readonly host: string;
  /** What stands before a command to have it run there. */
  readonly enter: readonly string[];
  /** Of its store, configuration and output. */
  readonly dir: string;
}

export interface NatsServersOptions {
  /** Three make a cluster. */
  readonly count?: 1 | 3;
  readonly version?: NatsVersion;
  /** `sync_interval: always`. */
  readonly syncsAlways?: boolean;
  /** Further lines of each server's configuration. @param host its address */
  readonly settings?: (host: string) => Promise<string>;
  /** Bytes of its store; 4 GiB by default. */
  readonly storeBytesMax?: number;
  /** One for each server; addresses of loopback and scratch directories by default. */
  readonly places?: readonly NatsPlace[];
}

/** host:port of everything of one server. */
interface Addresses {
  readonly client: string;
  readonly route: string;
  readonly monitor: string;
}

export class NatsServer {
  readonly name: string;
  /** nats://host:port */
  readonly url: string;
  /** http://host:port */
  readonly monitorUrl: string;
  /** Its store, configuration and output. */
  readonly dir: string;
  readonly #enter: readonly string[];
  #program: string;
  #child: ChildProcess | undefined;

  /** @param enter what stands before the program to have it run where it belongs */
  constructor(name: string, { client, monitor }: Addresses, dir: string, program: string, enter: readonly string[]) {
    this.name = name;
    this.url = `nats://${client}`;
    this.monitorUrl = `http://${monitor}`;
    this.dir = dir;
    this.#program = program;
    this.#enter = enter;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** What it has said so far. */
  get output(): string {
    const file = join(this.dir, 'output');
    // It has just been started.
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Starts it, again if it was killed. It answers only after ready(). */
  start(): void {
    const said = ['-c', join(this.dir, 'nats.conf'), '-l', join(this.dir, 'output')];
    // Whatever becomes of this process, the server ends with it.
    const command = [...this.#enter, this.#program, ...said];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: 'ignore' });
    this.#child = child;
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
  }

  /**
   * Resolves when it serves JetStream: all streams, or what is asked of a server. In a cluster that takes two of three.
   * @param waits told at each look why it does not serve yet
   */
  async ready(what: 'all' | 'server' = 'all', waits: (why: string) => void = () => undefined): Promise<void> {
    let why = '';
    const isReady = async () => {
      if (this.#child === undefined) throw new Error(`${this.name} has ended: ${this.output.slice(-2000)}`);
      why = await this.unhealthy(what);
      if (why !== '') waits(why);
      return why === '';
    };
    // A server that is asked says each time what is wrong with it, and warns of what it tries in vain.
    const done = () => this.output.split('\n').filter((line) => !line.includes('[WRN]')).length;
    await until(`${this.name} serves JetStream`, isReady, () => `${done()} lines, not counting warnings`);
  }

  /** Why it does not serve that, as it says; empty: it does. */
  async unhealthy(what: 'all' | 'server' = 'all'): Promise<string> {
    const signal = AbortSignal.timeout(2_000);
    try {
      const answer = await fetch(`${this.monitorUrl}/healthz${what === 'all' ? '' : '?js-server-only=true'}`, {
        signal,
      });
      const said = await answer.text();
      return answer.ok ? '' : said;
    } catch {
      return 'it does not answer';
    }
  }

  /** Like kill -9. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** It stands still, connections stay. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** It gives up what it leads, sends its clients away, and ends. */
  async lameDuck(): Promise<void> {
    await this.#end('SIGUSR2');
  }

  /** Its disk is lost, while it does not run. */
  empty(): void {
    rmSync(join(this.dir, 'jetstream'), { recursive: true });
  }

  /** The version that the next start has. */
  become(version: NatsVersion): void {
    this.#program = natsProgram(version).program;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const over = once(child, 'exit');
    child.kill(signal);
    child.kill('SIGCONT');
    await over;
  }
}

export class NatsServers {
  readonly servers: readonly NatsServer[];

  private constructor(servers: readonly NatsServer[]) {
    this.servers = servers;
  }

  /** They are ready when this resolves. Destroy them at the end. */
  static async start(options: NatsServersOptions = {}): Promise<NatsServers> {
    const { count = 1, version = 'newest' } = options;
    const { program } = natsProgram(version);
    const places = options.places ?? ownDirectories(count);
    const addresses: Addresses[] = [];
    for (const place of places) addresses.push(await addressesOf(place));
    const routes = addresses.map(({ route }) => route);
    const servers: NatsServer[] = [];
    for (const [at, { dir, enter }] of places.entries()) {
      const name = `n${at + 1}`;
      const own = addresses[at]!;
      const further = await options.settings?.(own.client.split(':')[0]!);
      writeFileSync(join(dir, 'nats.conf'), configuration(name, own, dir, routes, { ...options, further }));
      servers.push(new NatsServer(name, own, dir, program, enter));
    }
    const started = new NatsServers(servers);
    try {
      for (const server of servers) server.start();
      await Promise.all(servers.map((server) => server.ready()));
    } catch (cause) {
      await started.destroy();
      throw cause;
    }
    return started;
  }

  /** As `--nats` takes them. */
  get urls(): string {
    return this.servers.map(({ url }) => url).join(',');
  }

  /** The only one, or the first of three. */
  get first(): NatsServer {
    return this.servers[0]!;
  }

  of(name: string): NatsServer {
    const found = this.servers.find((server) => server.name === name);
    if (found === undefined) throw new Error(`no server ${name}`);
    return found;
  }

  /** Kills all that run; the directory goes when the test file ends. */
  async destroy(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
  }
}

type OwnPlace = Omit<NatsPlace, 'host'> & Partial<Pick<NatsPlace, 'host'>>;

function ownDirectories(count: number): OwnPlace[] {
  const dir = scratchDirectory('nats');
  return Array.from({ length: count }, (_, at) => {
    const own = join(dir, `n${at + 1}`);
    mkdirSync(own);
    return { dir: own, enter: [] };
  });
}

async function addressesOf({ host }: OwnPlace): Promise<Addresses> {
  if (host !== undefined) return { client: `${host}:4222`, route: `${host}:6222`, monitor: `${host}:8222` };
  const route = await ownAddress();
  return { route, client: await ownAddress(), monitor: await ownAddress() };
}

function configuration(
  name: string,
  { client, route, monitor }: Addresses,
  dir: string,
  routes: readonly string[],
  {
    syncsAlways = false,
    further = '',
    storeBytesMax = 4 * 2 ** 30,
  }: NatsServersOptions & { further?: string | undefined },
): string {
  const sync = syncsAlways ? 'sync_interval: always' : '';
  const jetStream = `store_dir: "${dir}", max_file_store: ${storeBytesMax}, max_memory_store: 67108864, ${sync}`;
  const others = routes.filter((other) => other !== route).map((route) => `nats-route://${route}`);
  const cluster =
    routes.length === 1
      ? ''
      : `cluster { name: test, listen: "${route}", no_advertise: true, routes: ${JSON.stringify(others)} }`;
  return [`server_name: ${name}`, `listen: "${client}"`, `http: "${monitor}"`, `jetstream { ${jetStream} }`]
    .concat(cluster, further, '')
    .join('\n');
}
