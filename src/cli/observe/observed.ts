/** What `observe` asks: one cluster, or several merged. */
import type { Client } from '../../client/client.js';
import { clusterRequests } from '../../client/clusters/cluster-requests.js';
import { mergedStream } from '../../client/clusters/merged-stream.js';
import { SUBSCRIBE_FORM } from '../../client/clusters/subscribe-form.js';
import type { SubscribeItem } from '../../client/subscribe-item.js';
import type { ExplainResponse__Output as ExplainResponse, SubscribeRequest } from '../../wire/messages.js';
import type { ClusterClients } from '../connection/clusters.js';

export class Observed {
  readonly #clients: ClusterClients;

  constructor(clients: ClusterClients) {
    this.#clients = clients;
  }

  /** Of a cluster as items name it. */
  client(cluster = ''): Client {
    return this.#clients.get(cluster)!;
  }

  subscribe(request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<SubscribeItem, void, undefined> {
    const only = this.#clients.get('');
    if (only !== undefined) return only.subscribe(request, signal);
    const sources = Array.from(this.#clients, ([name, client]) => ({ name, stream: client.subscribe.bind(client) }));
    return mergedStream(sources, SUBSCRIBE_FORM, request, signal);
  }

  /** By cluster; of the only one under ''. */
  async explain(request: SubscribeRequest): Promise<ReadonlyMap<string, ExplainResponse>> {
    const only = this.#clients.get('');
    if (only !== undefined) return new Map([['', await only.explain(request)]]);
    const asked = clusterRequests([...this.#clients.keys()], request, Date.now());
    const answers = asked.map(async (each) => [each.name, await this.client(each.name).explain(each.request)] as const);
    return new Map(await Promise.all(answers));
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }
}
