/** One broker that keeps its log itself, with agents and subscribers. */
import { Client } from '../../../src/client/client.js';
import { bearer, credentialIn } from '../bus/token.js';
import { ownAddress } from '../own-address.js';
import { Namespace } from './namespace.js';
import { BrokerParty } from './party.js';
import { System } from './system.js';

export class Cluster extends System {
  broker!: BrokerParty;
  grpc = '';
  http = '';
  readonly #namespaces: Namespace[] = [];
  readonly #apart: boolean;

  private constructor(apart: boolean) {
    super();
    this.#apart = apart;
  }

  /** @param apart whether each agent and subscriber gets a network namespace of its own */
  static async start(env: NodeJS.ProcessEnv = {}, apart = false): Promise<Cluster> {
    const cluster = new Cluster(apart);
    cluster.grpc = await ownAddress();
    cluster.http = await ownAddress();
    const disk = cluster.disk('broker', cluster.brokerDir);
    const brokerEnv = {
      NODE_OPTIONS: disk.nodeOption,
      BACKPLANE_DATA_DIR: cluster.brokerDir,
      BACKPLANE_GRPC_LISTEN: cluster.grpc,
      BACKPLANE_HTTP_LISTEN: cluster.http,
      ...env,
    };
    cluster.broker = new BrokerParty('broker', brokerEnv, disk);
    cluster.brokers.push(cluster.broker);
    cluster.broker.start();
    await cluster.broker.serving();
    return cluster;
  }

  /** Of the HTTP API, with the token. */
  get(path: string): Promise<Response> {
    return fetch(`http://${this.http}${path}`, { headers: bearer(this.brokerDir) });
  }

  /** A client of its own, with the token. */
  client(): Client {
    return new Client([this.grpc], credentialIn(this.brokerDir));
  }

  protected override get targets(): readonly string[] {
    return [this.grpc];
  }

  protected override namespaceOfNext(): Namespace | undefined {
    if (!this.#apart) return undefined;
    const namespace = Namespace.create();
    this.#namespaces.push(namespace);
    return namespace;
  }

  protected override removeNetwork(): void {
    for (const namespace of this.#namespaces.splice(0)) namespace.remove();
  }
}
