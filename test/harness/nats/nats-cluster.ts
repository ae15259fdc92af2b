/**
 * Three nats-servers, two brokers, and agents and subscribers that know both, each in a network namespace of its own on
 * one bridge. Servers and brokers reach each other directly; agents and subscribers by relays on the host, which delay.
 * Each server's store is a small file system of its own. The brokers' clocks are an hour apart.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { newToken } from '../../../src/access/token.js';
import { coordinationStreams } from '../../../src/broker/cluster/nats/coordination-streams.js';
import { documentForms } from '../../../src/broker/log/documents/document-streams.js';
import { partitionForms } from '../../../src/broker/log/jetstream/streams.js';
import { Client } from '../../../src/client/client.js';
import { run } from '../bus/command.js';
import { credentialIn, tokenFile } from '../bus/token.js';
import { keepFile } from '../cluster/kept-output.js';
import { Bridge, Namespace } from '../cluster/namespace.js';
import { BrokerParty, type Exit } from '../cluster/party.js';
import type { Relay } from '../cluster/relay.js';
import { SmallDisk } from '../cluster/small-disk.js';
import { System } from '../cluster/system.js';
import { World } from '../cluster/world.js';
import { MemberProcess } from '../groups/members.js';
import type { TakenBack } from '../groups/processed.js';
import { settled, until } from '../until.js';
import type { NatsVersion } from './nats-package.js';
import { type NatsServer, NatsServers } from './nats-servers.js';

export const CLUSTER = 'faults';
/** All of the cluster. */
export const STREAMS: readonly string[] = [
  ...partitionForms(CLUSTER),
  ...coordinationStreams(CLUSTER, 1),
  ...documentForms(CLUSTER, 1),
].map(({ name }) => name);
const SERVERS = 3;
const HALF_AN_HOUR_MS = 1_800_000;
/** Of each server. What streams may hold beyond it is never used. */
const DISK_BYTES = 192 * 2 ** 20;
const STORE_BYTES_MAX = 32 * 2 ** 30;
const LOG_BYTES_MAX = '32MiB';
const GRPC_PORT = 7600;
const HTTP_PORT = 7680;
const ANSWER_MS = 2_000;
const COMMIT_MS = 150;
const COMMIT_TIMEOUT_MS = 5_000;
/** How long a slow member does nothing: longer than brokers allow. */
export const SLOW_MS = COMMIT_TIMEOUT_MS + 1_500;

/** A nats-server with its machine. */
export interface NatsMachine {
  readonly name: string;
  readonly server: NatsServer;
  readonly namespace: Namespace;
  readonly disk: SmallDisk;
  /** As a party's: a fault has it. */
  busy: boolean;
  /** It is back after a power cut, but not in the groups of all streams: the two others are all that NATS has. */
  rejoining: boolean;
}

/** Whoever runs it starts it again where it ended because no nats-server answered, as a unit of systemd does. */
export class ClusterBroker extends BrokerParty {
  readonly grpc: string;
  readonly http: string;
  /** Starts that found no NATS. */
  inVain = 0;
  #serves = false;

  constructor(name: string, namespace: Namespace, env: NodeJS.ProcessEnv) {
    const [grpc, http] = [GRPC_PORT, HTTP_PORT].map((port) => `${namespace.partyAddress}:${port}`) as [string, string];
    super(name, { ...env, BACKPLANE_GRPC_LISTEN: grpc, BACKPLANE_HTTP_LISTEN: http, BACKPLANE_INSECURE: 'true' });
    this.namespace = namespace;
    this.grpc = grpc;
    this.http = http;
  }

  override start(): void {
    this.#serves = false;
    super.start();
    const child = this.child!;
    child.stdout!.once('data', () => {
      this.#serves = this.child === child;
    });
  }

  /** Resolves when it has ended by itself. */
  ends(): Promise<Exit> {
    return settled(`the end of ${this.name}`, this.exited, () => this.stderr);
  }

  override async serving(): Promise<void> {
    const serves = await until(
      `${this.name} to serve`,
      () => (this.running && this.#serves) || (this.unexpected.length > 0 && 'it ended'),
      () => `${this.starts} starts ${this.stderr}`,
    );
    if (serves !== true) throw new Error(this.unexpected.join('; '));
  }

  protected override died(exit: Exit): void {
    if (exit.code === 1 && !this.#serves && NO_NATS.test(this.stderr)) {
      this.inVain += 1;
      this.start();
    } else super.died(exit);
  }
}

/** What a broker says that finds no NATS, or one without a leader. */
const NO_NATS = /nats: none of .* can be used|cannot be (read|looked at|asked)|unavailable|timeout/i;

/** A member of a group, with its way to the brokers. */
export interface ClusterMember {
  readonly name: string;
  readonly process: MemberProcess;
  readonly relay: Relay;
  busy: boolean;
}

export class NatsCluster extends System {
  declare readonly brokers: ClusterBroker[];
  readonly machines: NatsMachine[] = [];
  readonly members: ClusterMember[] = [];
  /** What power cuts took back of what nobody can send again. */
  readonly cuts: TakenBack[] = [];
  readonly #bridge = Bridge.create();
  readonly #namespaces: Namespace[] = [];

  private constructor() {
    super();
  }

  /** @param settings of the brokers, beyond where they and NATS are */
  static async start(version: NatsVersion = 'newest', settings: NodeJS.ProcessEnv = {}): Promise<NatsCluster> {
    const cluster = new NatsCluster();
    try {
      await cluster.#startServers(version);
      await cluster.#startBrokers(settings);
      return cluster;
    } catch (cause) {
      await cluster.destroy();
      throw cause;
    }
  }

  /** As `--nats` takes them. */
  get urls(): string {
    return this.machines.map(({ server }) => server.url).join(',');
  }

  /** A client that knows both brokers. */
  client(): Client {
    return new Client(this.targets, credentialIn(this.brokerDir));
  }

  /** A member of the one group of the cluster, which asks for these nodes. */
  async member(name: string, nodes: readonly string[], since: string): Promise<void> {
    const { relay, namespace } = await this.link();
    const options = { broker: relay.address, brokerDir: this.brokerDir, group: 'work', dir: this.dir };
    const times = { commitMs: COMMIT_MS, slowMs: SLOW_MS, since };
    const process = new MemberProcess(name, { ...options, ...times, nodes, enter: namespace!.enter });
    this.members.push({ name: `member ${name}`, process, relay, busy: false });
    process.start();
  }

  /** Who leads the stream, by what the servers say of it; undefined: nobody, or nobody says so. */
  async leader(stream: string): Promise<NatsMachine | undefined> {
    for (const { server } of this.machines) {
      const found = await streamOf(server, stream);
      if (found?.cluster?.leader === server.name) return this.machines.find(({ name }) => name === server.name);
    }
    return undefined;
  }

  /** The last sequence of a stream, as its leader has it. */
  async lastSequence(stream: string): Promise<number | undefined> {
    const leader = await this.leader(stream);
    return leader && (await streamOf(leader.server, stream))?.state.last_seq;
  }

  /** What each server says of a stream, for whoever wonders why it is not served. */
  async told(stream: string): Promise<string> {
    const each = this.machines.map(async ({ server }) => {
      const found = await streamOf(server, stream);
      if (found === undefined) return `${server.name} says nothing of it`;
      const { first_seq: first, last_seq: last, bytes } = found.state;
      const { leader = 'nobody', replicas = [] } = found.cluster ?? {};
      const others = replicas.map(({ name, current, lag = 0 }) => `, ${name} ${current ? 'current' : `lacks ${lag}`}`);
      return `${server.name} has ${first} to ${last} in ${bytes} bytes, led by ${leader}${others.join('')}`;
    });
    return (await Promise.all(each)).join('; ');
  }

  /** Streams whose leaders say that the server has all that they have, or is the leader. */
  async currentOn(name: string): Promise<Set<string>> {
    const current = new Set<string>();
    for (const { server } of this.machines) {
      for (const { name: stream, cluster } of await streamsOf(server)) {
        if (cluster?.leader !== server.name) continue;
        const replica = cluster.replicas?.find((replica) => replica.name === name);
        if (server.name === name || (replica?.current === true && !replica.lag)) current.add(stream);
      }
    }
    return current;
  }

  /** Streams of which the server has as much as the others, and something else. */
  async differing({ server: own }: NatsMachine): Promise<string[]> {
    const [mine = [], ...others] = await Promise.all([
      streamsOf(own),
      ...this.machines.filter(({ server }) => server !== own).map(({ server }) => streamsOf(server)),
    ]);
    const place = ({ state }: StreamTold) => `${state.first_seq} ${state.last_seq}`;
    return mine
      .filter((stream) => {
        const theirs = others.flat().filter((other) => other.name === stream.name && place(other) === place(stream));
        return theirs.length > 0 && theirs.every(({ state }) => state.bytes !== stream.state.bytes);
      })
      .map(({ name }) => name);
  }

  /** Behind the brokers' backs. */
  async deleteStream(stream: string): Promise<void> {
    const connection = await connect({ servers: this.urls.split(',') });
    try {
      await (await jetstreamManager(connection, { checkAPI: false })).streams.delete(stream);
    } finally {
      await connection.close();
    }
  }

  override async destroy(): Promise<void> {
    await Promise.all(this.members.map(({ process }) => process.end('SIGKILL')));
    for (const { relay } of this.members) relay.close();
    await Promise.all(this.machines.map(({ server }) => server.kill()));
    for (const { name, disk } of this.machines) keepFile(`${name}.log`, join(disk.dir, 'output'));
    for (const { process } of this.members) keepFile(`member-${process.name}`, process.file);
    await super.destroy();
  }

  protected override get targets(): readonly string[] {
    return this.brokers.map(({ grpc }) => grpc);
  }

  protected override namespaceOfNext(): Namespace {
    const namespace = Namespace.on(this.#bridge, this.#namespaces.length + 1);
    this.#namespaces.push(namespace);
    return namespace;
  }

  protected override removeNetwork(): void {
    for (const namespace of this.#namespaces.splice(0)) namespace.remove();
    this.#bridge.remove();
    for (const { disk } of this.machines.splice(0)) disk.remove();
  }

  async #startServers(version: NatsVersion): Promise<void> {
    const grounds = Array.from({ length: SERVERS }, () => ({
      namespace: this.namespaceOfNext(),
      disk: new SmallDisk(DISK_BYTES),
    }));
    const places = grounds.map(({ namespace, disk: { dir } }) => {
      return { host: namespace.partyAddress, enter: namespace.enter, dir };
    });
    const { servers } = await NatsServers.start({ count: SERVERS, version, places, storeBytesMax: STORE_BYTES_MAX });
    for (const [at, server] of servers.entries())
      this.machines.push({ name: server.name, server, ...grounds[at]!, busy: false, rejoining: false });
    const made = await run(
      ['cluster', 'init', '--nats', this.urls, '--cluster', CLUSTER, '--log-bytes-max', LOG_BYTES_MAX].concat(
        '--replicas',
        String(SERVERS),
      ),
    );
    if (made.code !== 0) throw new Error(`the cluster cannot be made: ${made.err}`);
  }

  async #startBrokers(settings: NodeJS.ProcessEnv): Promise<void> {
    const token = newToken();
    for (const [at, dir] of [this.brokerDir, join(this.dir, 'broker-data-2')].entries()) {
      mkdirSync(dir);
      writeFileSync(tokenFile(dir), `${token}\n`, { mode: 0o600 });
      const world = new World(join(dir, 'world.json'), at === 0 ? HALF_AN_HOUR_MS : -HALF_AN_HOUR_MS);
      const env = {
        NODE_OPTIONS: world.nodeOption,
        ...world.env,
        BACKPLANE_DATA_DIR: dir,
        BACKPLANE_NATS_SERVERS: this.urls,
        BACKPLANE_NATS_CLUSTER: CLUSTER,
        BACKPLANE_GROUP_COMMIT_TIMEOUT: `${COMMIT_TIMEOUT_MS}ms`,
        ...settings,
      };
      this.brokers.push(new ClusterBroker(`broker-${at + 1}`, this.namespaceOfNext(), env));
    }
    for (const broker of this.brokers) broker.start();
    await Promise.all(this.brokers.map((broker) => broker.serving()));
  }
}

/** As the server's monitoring tells it. */
interface StreamTold {
  readonly name: string;
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly name: string; readonly current: boolean; readonly lag?: number }[];
  };
  readonly state: { readonly first_seq: number; readonly last_seq: number; readonly bytes: number };
}

/** What a server that answers knows of a stream. */
async function streamOf(server: NatsServer, stream: string): Promise<StreamTold | undefined> {
  return (await streamsOf(server)).find(({ name }) => name === stream);
}

async function streamsOf({ monitorUrl }: NatsServer): Promise<readonly StreamTold[]> {
  const told = await fetch(`${monitorUrl}/jsz?accounts=true&streams=true`, { signal: AbortSignal.timeout(ANSWER_MS) })
    .then((answer) => answer.json() as Promise<{ account_details?: { stream_detail?: StreamTold[] }[] }>)
    .catch(() => undefined);
  return told?.account_details?.flatMap(({ stream_detail: all = [] }) => all) ?? [];
}
