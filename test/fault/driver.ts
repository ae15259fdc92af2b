/** A whole system of real processes, started, watched and ended together. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../end-to-end/bus.js';
import { type AgentOptions, AgentParty, BrokerParty, type Party } from './party.js';
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

  static async start(env: NodeJS.ProcessEnv = {}): Promise<Cluster> {
    const cluster = new Cluster();
    cluster.grpc = `127.0.0.1:${await freePort()}`;
    cluster.http = `127.0.0.1:${await freePort()}`;
    cluster.broker = new BrokerParty('broker', {
      BACKPLANE_DATA_DIR: cluster.brokerDir,
      BACKPLANE_GRPC_LISTEN: cluster.grpc,
      BACKPLANE_HTTP_LISTEN: cluster.http,
      ...env,
    });
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

  get parties(): readonly Party[] {
    return [this.broker, ...this.agents, ...this.subscribers];
  }

  async agent(options: AgentOptions): Promise<AgentParty> {
    const dataDir = options.dataDir ?? join(this.dir, options.name);
    mkdirSync(dataDir, { recursive: true });
    const relay = await Relay.start(this.grpc);
    const agent = new AgentParty(relay, { ...options, dataDir });
    this.agents.push(agent);
    agent.start();
    return agent;
  }

  async subscribe(name: string, asks: Asks): Promise<Subscriber> {
    const subscriber = new Subscriber(name, await Relay.start(this.grpc), asks);
    subscriber.received.periodNs = (node) => this.agents.find(({ recorders }) => recorders.has(node))?.periodNs ?? 1;
    this.subscribers.push(subscriber);
    subscriber.start();
    return subscriber;
  }

  /** Whatever became of them. */
  async destroy(): Promise<void> {
    clearInterval(this.#sampler);
    await Promise.all(this.parties.map((party) => party.end('SIGKILL')));
    for (const { relay } of [...this.agents, ...this.subscribers]) relay.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
