/** The public gRPC service. */
import type { handleUnaryCall, ServerWritableStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { REQUEST_BYTES_MAX } from '../../limits.js';
import { wallNowNs } from '../../nanoseconds.js';
import { checkSubscription } from '../../subscriptions/request/subscription-request.js';
import { callFailure } from '../../wire/grpc/status-details.js';
import { identityOf } from '../../wire/grpc/stream-gate.js';
import {
  explainRequestCodec,
  explainResponseCodec,
  forgetNodesRequestCodec,
  forgetNodesResponseCodec,
  getStatusResponseCodec,
  listNodesResponseCodec,
  listSubscriptionsResponseCodec,
  listTopicsResponseCodec,
  setBudgetRequestCodec,
  setBudgetResponseCodec,
  subscribeRequestCodec,
} from '../../wire/messages.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import type { BudgetService } from '../nodes/budget-service.js';
import type { ForgetService } from '../nodes/forget-service.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { explainRequest } from './explain.js';
import { GrpcSink } from './grpc-stream.js';
import type { Listings } from './listings.js';
import { inProtoNames } from './proto-names.js';

type SubscribeCall = ServerWritableStream<Buffer, Buffer>;

export class GrpcApi {
  readonly #subscriptions: Subscriptions;
  readonly #registry: NodeRegistry;
  readonly #listings: Listings;
  readonly #budgets: BudgetService;
  readonly #forgetting: ForgetService;

  constructor(
    subscriptions: Subscriptions,
    registry: NodeRegistry,
    listings: Listings,
    budgets: BudgetService,
    forgetting: ForgetService,
  ) {
    this.#subscriptions = subscriptions;
    this.#registry = registry;
    this.#listings = listings;
    this.#budgets = budgets;
    this.#forgetting = forgetting;
  }

  handlers(): UntypedServiceImplementation {
    const listings = this.#listings;
    return {
      Subscribe: (call: SubscribeCall) => void this.#subscribe(call),
      Explain: unary((bytes) => {
        const request = explainRequestCodec.decode(bytes, REQUEST_BYTES_MAX);
        return explainResponseCodec.encode(explainRequest(request, this.#registry));
      }),
      ListNodes: unary(() => listNodesResponseCodec.encode(listings.nodes())),
      ListTopics: unary(() => listTopicsResponseCodec.encode(listings.topics())),
      ListSubscriptions: unary(() => listSubscriptionsResponseCodec.encode(listings.subscriptionList())),
      SetBudget: unary(async (bytes, peer) => {
        const request = setBudgetRequestCodec.decode(bytes, REQUEST_BYTES_MAX);
        return setBudgetResponseCodec.encode(await this.#budgets.change(request, peer));
      }),
      ForgetNodes: unary(async (bytes, peer) => {
        const { nodes } = forgetNodesRequestCodec.decode(bytes, REQUEST_BYTES_MAX);
        return forgetNodesResponseCodec.encode({ nodes: [...(await this.#forgetting.forget(nodes, peer))] });
      }),
      GetStatus: unary(() => getStatusResponseCodec.encode(listings.status())),
    };
  }

  async #subscribe(call: SubscribeCall): Promise<void> {
    // Without a listener the error that a cancelled call emits would be unhandled.
    call.on('error', () => undefined);
    const sink = new GrpcSink(call);
    try {
      const request = subscribeRequestCodec.decode(call.request, REQUEST_BYTES_MAX);
      const caller = { peer: call.getPeer(), identity: identityOf(call.metadata) };
      await this.#subscriptions.deliver(checkSubscription(request, wallNowNs()), sink, caller);
      sink.end();
    } catch (cause) {
      if (!sink.closed.aborted) call.emit('error', callFailure(inProtoNames(cause)));
    }
  }
}

function unary(answer: (request: Buffer, peer: string) => Buffer | Promise<Buffer>): handleUnaryCall<Buffer, Buffer> {
  return async (call, respond) => {
    try {
      respond(null, await answer(call.request, call.getPeer()));
    } catch (cause) {
      respond(callFailure(inProtoNames(cause)));
    }
  };
}
