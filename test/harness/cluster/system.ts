/** A whole system of real processes, started, watched and ended together. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { tokenFile } from '../bus/token.js';
import type { Namespace } from './namespace.js';
import { type AgentOptions, AgentParty, type BrokerParty, type Party } from './party.js';
import { Disk } from './power-cut.js';
import { Relay } from './relay.js';
import { type Asks, Subscriber } from './subscriber.js';

/** Brokers, agents and subscribers, in a directory that goes with them. */
export abstract class System {
  readonly dir = mkdtempSync(join(tmpdir(), 'backplane-fault-'));
  readonly brokers: BrokerParty[] = [];
  readonly agents: AgentParty[] = [];
  readonly subscribers: Subscriber[] = [];
  #sampler: NodeJS.Timeout | undefined;
  readonly #abandon = () => {
    for (const party of this.parties) party.signal('SIGKILL');
    this.#remove();
  };

  protected constructor() {
    // Registered before the removal of the disks that the processes write to.
    process.prependListener('exit', this.#abandon);
    for (const signal of SIGNALS) process.on(signal, interrupted);
    this.#sampler = setInterval(() => {
      for (const party of this.parties) party.sample();
    }, SAMPLE_MS);
  }

  /** The data directory of a broker, whose token all take. */
  get brokerDir(): string {
    return join(this.dir, 'broker-data');
  }

  get parties(): readonly Party[] {
    return [...this.brokers, ...this.agents, ...this.subscribers];
  }

  async agent(options: AgentOptions): Promise<AgentParty> {
    const dataDir = options.dataDir ?? join(this.dir, options.name);
    mkdirSync(dataDir, { recursive: true });
    const { relay, namespace } = await this.link();
    const agent = new AgentParty(
      relay,
      { ...options, dataDir, tokenFile: tokenFile(this.brokerDir) },
      this.disk(options.name, dataDir),
    );
    agent.namespace = namespace;
    this.agents.push(agent);
    agent.start();
    return agent;
  }

  async subscribe(name: string, asks: Asks): Promise<Subscriber> {
    const { relay, namespace } = await this.link();
    const subscriber = new Subscriber(name, relay, tokenFile(this.brokerDir), asks);
    subscriber.namespace = namespace;
    subscriber.received.periodNs = (node) => this.agents.find(({ recorders }) => recorders.has(node))?.periodNs ?? 1;
    this.subscribers.push(subscriber);
    subscriber.start();
    return subscriber;
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

  /** host:port of every broker, as the host reaches it. */
  protected abstract get targets(): readonly string[];

  /** For the next agent or subscriber; undefined: it runs where the host does. */
  protected abstract namespaceOfNext(): Namespace | undefined;

  /** What is not a process. */
  protected abstract removeNetwork(): void;

  protected disk(name: string, root: string): Disk {
    return new Disk(root, join(this.dir, `journal-${name}`));
  }

  /** The way of one party to the brokers. */
  protected async link(): Promise<{ relay: Relay; namespace: Namespace | undefined }> {
    const namespace = this.namespaceOfNext();
    return { relay: await Relay.start(this.targets, namespace?.hostAddress), namespace };
  }

  #remove(): void {
    this.removeNetwork();
    // A process that was just killed may still be writing there.
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10 });
  }
}

const SAMPLE_MS = 500;
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** The process exits, and removes what its clusters have. */
function interrupted(signal: NodeJS.Signals): void {
  process.exit(128 + constants.signals[signal]);
}
