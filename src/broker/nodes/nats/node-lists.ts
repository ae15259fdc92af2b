/**
 * How the nodes of other brokers are, asked of these whenever somebody lists nodes: reports of thousands of nodes every few
 * seconds are not sent around for that.
 *
 * bp.CLUSTER.nodes.BROKER   asked with JSON { names }; answers with a ListNodesResponse of those that it has
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import * as z from 'zod';
import { MESSAGE_BYTES_MAX, NODE_LIST_ANSWER_BYTES, NODE_LIST_MS, NODE_LIST_NAMES_MAX } from '../../../limits.js';
import { type ListNodesResponse, listNodesResponseCodec, type Node } from '../../../wire/messages.js';
import { subjectToken } from '../../cluster/nats/subject-token.js';
import { jsonOf } from '../../nats/message-json.js';
import type { NodePlaces } from './node-places.js';

const requestSchema = z.object({ names: z.array(z.string()).max(NODE_LIST_NAMES_MAX) });

export interface NodeListsOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  /** This broker's name. */
  readonly broker: string;
  readonly places: NodePlaces;
}

export class NodeLists {
  readonly #options: NodeListsOptions;
  #subscription: Subscription | undefined;

  constructor(options: NodeListsOptions) {
    this.#options = options;
  }

  /** Answers the others. @param own those of these nodes that are connected here */
  serve(own: (names: readonly string[]) => readonly Node[]): void {
    const callback = (_error: Error | null, message: Msg) => {
      const { data: request } = requestSchema.safeParse(jsonOf(message));
      if (request !== undefined) message.respond(answerOf(own(request.names)));
    };
    this.#subscription = this.#options.connection.subscribe(this.#subject(this.#options.broker), { callback });
  }

  close(): void {
    this.#subscription?.unsubscribe();
  }

  /** Of those of the nodes whose brokers answer in time. Never rejects. */
  async of(names: readonly string[]): Promise<ReadonlyMap<string, Node>> {
    const byBroker = new Map<string, string[]>();
    for (const name of names) {
      const place = this.#options.places.of(name);
      if (place === undefined || place.session === '' || place.broker === this.#options.broker) continue;
      const asked = byBroker.get(place.broker) ?? [];
      asked.push(name);
      byBroker.set(place.broker, asked);
    }
    const nodes = new Map<string, Node>();
    await Promise.all(Array.from(byBroker, ([broker, asked]) => this.#ask(broker, asked, nodes)));
    return nodes;
  }

  async #ask(broker: string, names: readonly string[], into: Map<string, Node>): Promise<void> {
    for (let left = names; left.length > 0; ) {
      const some = left.slice(0, NODE_LIST_NAMES_MAX);
      const answered = await this.#request(broker, some);
      const known = new Map(
        answered.flatMap((node) => (node.name && some.includes(node.name) ? [[node.name, node]] : [])),
      );
      for (const [name, node] of known) into.set(name, node);
      // What went meanwhile is not in the answer; what did not fit is asked for again.
      const last = [...known.keys()].at(-1);
      if (last === undefined) return;
      left = left.slice(known.size < some.length ? some.indexOf(last) + 1 : some.length);
    }
  }

  async #request(broker: string, names: readonly string[]): Promise<readonly Node[]> {
    const { connection } = this.#options;
    if (connection.info === undefined) return [];
    try {
      const request = JSON.stringify({ names });
      const { data } = await connection.request(this.#subject(broker), request, { timeout: NODE_LIST_MS });
      const answer = listNodesResponseCodec.decode(Buffer.from(data), MESSAGE_BYTES_MAX) as ListNodesResponse;
      return answer.nodes ?? [];
    } catch {
      // It is going, or NATS is away: what is known here has to do.
      return [];
    }
  }

  #subject(broker: string): string {
    return `bp.${this.#options.cluster}.nodes.${subjectToken(broker)}`;
  }
}

/** As many of the nodes as fit. */
function answerOf(nodes: readonly Node[]): Buffer {
  for (let count = nodes.length; ; count = Math.floor(count / 2)) {
    const answer = listNodesResponseCodec.encode({ nodes: nodes.slice(0, count) });
    if (answer.length <= NODE_LIST_ANSWER_BYTES || count === 0) return answer;
  }
}
