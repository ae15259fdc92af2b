/** A whole system of real processes, started, watched and ended together. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../../../src/client/client.js';
import { bearer, credentialIn, tokenFile } from '../bus/token.js';
import { ownAddress } from '../own-address.js';
import { Namespace } from './namespace.js';
import { type AgentOptions, AgentParty, BrokerParty, type Party } from './party.js';
import { Disk } from './power-cut.js';
import { Relay } from './relay.js';
import { type Asks, Subscriber } from './subscriber.js';

/** A broker, agents and subscribers, in a directory that goes with them. */
export class Cluster {
  readonly dir = mkdtempSync(join(tmpdir(), 'backplane-fault-'));
  readonly agents: AgentParty[] = [];
  readonly subscribers: Subscriber[] = [];
  broker!: BrokerParty;
  grpc = '';
  http = '';
  #sampler: NodeJS.Timeout | undefined;
  readonly #namespaces: Namespace[] = [];
  readonly #abandon = () => {
    for (const party of this.parties) party.signal('SIGKILL');
    this.#remove();
  };

  readonly #apart: boolean;

  private constructor(apart: boolean) {
    this.#apart = apart;
  }

  /** @param apart whether each agent and subscriber gets a network namespace of its own */
  static async start(env: NodeJS.ProcessEnv = {}, apart = false): Promise<Cluster> {
    const cluster = new Cluster(apart);
    // Registered before the removal of the disks that the processes write to.
    process.prependListener('exit', cluster.#abandon);
    for (const signal of SIGNALS) process.on(signal, interrupted);
    cluster.grpc = await ownAddress();
    cluster.http = await ownAddress();
    const disk = cluster.#disk('broker', cluster.brokerDir);
    const brokerEnv = {
      NODE_OPTIONS: disk.nodeOption,
      BACKPLANE_DATA_DIR: cluster.brokerDir,
      BACKPLANE_GRPC_LISTEN: cluster.grpc,
      BACKPLANE_HTTP_LISTEN: cluster.http,
      ...env,
    };
    cluster.broker = new BrokerParty('broker', brokerEnv, disk);
    cluster.broker.start();
    await cluster.broker.serving();
    cluster.#sampler = setInterval(() => {
      for (const party of cluster.parties) party.sample();
    }, 500);
    return cluster;
  }

  get brokerDir(): string {
    return join(this.dir, 'broker-data');
  }

  /** Of the HTTP API, with the token. */
  get(path: string): Promise<Response> {
    return fetch(`http://${this.http}${path}`, { headers: bearer(this.brokerDir) });
  }

  /** A client of its own, with the token. */
  client(): Client {
    return new Client([this.grpc], credentialIn(this.brokerDir));
  }

  get parties(): readonly Party[] {
    return [this.broker, ...this.agents, ...this.subscribers];
  }

  async agent(options: AgentOptions): Promise<AgentParty> {
    const dataDir = options.dataDir ?? join(this.dir, options.name);
    mkdirSync(dataDir, { recursive: true });
    const { relay, namespace } = await this.#link();
    const agent = new AgentParty(
      relay,
      { ...options, dataDir, tokenFile: tokenFile(this.brokerDir) },
      this.#disk(options.name, dataDir),
    );
    agent.namespace = namespace;
    this.agents.push(agent);
    agent.start();
    return agent;
  }

  async subscribe(name: string, asks: Asks): Promise<Subscriber> {
    const { relay, namespace } = await this.#link();
    const subscriber = new Subscriber(name, relay, tokenFile(this.brokerDir), asks);
    subscriber.namespace = namespace;
    subscriber.received.periodNs = (node) => this.agents.find(({ recorders }) => recorders.has(node))?.periodNs ?? 1;
    this.subscribers.push(subscriber);
    subscriber.start();
    return subscriber;
  }

  #disk(name: string, root: string): Disk {
    return new Disk(root, join(this.dir, `journal-${name}`));
  }

  /** Ends all parties, whatever state they are in. */
  async destroy(): Promise<void> {
    clearInterval(this.#sampler);
    await Promise.all(this.parties.map((party) => party.end('SIGKILL')));
    for (const { relay } of [...this.agents, ...this.subscribers]) relay.close();
    this.#remove();
    process.off('exit', this.#abandon);
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }

  /** The way of one party to the broker. */
  async #link(): Promise<{ relay: Relay; namespace: Namespace | undefined }> {
    const namespace = this.#apart ? Namespace.create() : undefined;
    if (namespace) this.#namespaces.push(namespace);
    return { relay: await Relay.start(this.grpc, namespace?.hostAddress), namespace };
  }

  #remove(): void {
    for (const namespace of this.#namespaces.splice(0)) namespace.remove();
    // A process that was just killed may still be writing there.
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10 });
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** The process exits, and removes what its clusters have. */
function interrupted(signal: NodeJS.Signals): void {
  process.exit(128 + constants.signals[signal]);
}
