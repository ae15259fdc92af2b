/** The public gRPC service. */
import type { handleUnaryCall, ServerWritableStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { REQUEST_BYTES_MAX } from '../../limits.js';
import { callFailure } from '../../wire/grpc/status-details.js';
import {
  explainRequestCodec,
  explainResponseCodec,
  forgetNodesRequestCodec,
  forgetNodesResponseCodec,
  getStatusResponseCodec,
  listNodesRequestCodec,
  listNodesResponseCodec,
  listSubscriptionsRequestCodec,
  listSubscriptionsResponseCodec,
  listTopicsResponseCodec,
  retireResponseCodec,
  setBudgetRequestCodec,
  setBudgetResponseCodec,
  subscribeRequestCodec,
} from '../../wire/messages.js';
import type { AccessControl } from '../access/access-control.js';
import type { Grant } from '../access/authorize.js';
import { callerOf } from '../access/caller.js';
import type { Caller } from '../access/gate.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import type { BudgetService } from '../nodes/budget-service.js';
import type { ForgetService } from '../nodes/forget-service.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { isForced, type Retirement } from '../retirement.js';
import { explainRequest } from './explain.js';
import { GrpcSink } from './grpc-stream.js';
import type { Listings } from './listings.js';
import { pageByName, pageByNumber } from './page.js';
import { inProtoNames } from './proto-names.js';

type SubscribeCall = ServerWritableStream<Buffer, Buffer>;

export interface GrpcParts {
  readonly subscriptions: Subscriptions;
  readonly registry: NodeRegistry;
  readonly listings: Listings;
  readonly budgets: BudgetService;
  readonly forgetting: ForgetService;
  readonly retirement: Retirement;
  readonly access: AccessControl;
}

export class GrpcApi {
  readonly #parts: GrpcParts;

  constructor(parts: GrpcParts) {
    this.#parts = parts;
  }

  handlers(): UntypedServiceImplementation {
    const { listings, registry, access, budgets, forgetting, retirement } = this.#parts;
    return {
      Subscribe: (call: SubscribeCall) => void this.#subscribe(call),
      Explain: unary((bytes, caller) => {
        const request = explainRequestCodec.decode(bytes, REQUEST_BYTES_MAX);
        return explainResponseCodec.encode(explainRequest(request, registry, access, caller));
      }),
      ListNodes: this.#listing(async (grant, _caller, bytes) => {
        const page = pageByName(listNodesRequestCodec.decode(bytes, REQUEST_BYTES_MAX));
        return listNodesResponseCodec.encode(await listings.nodes(grant, page));
      }),
      ListTopics: this.#listing((grant) => listTopicsResponseCodec.encode(listings.topics(grant))),
      ListSubscriptions: this.#listing((grant, caller, bytes) => {
        const page = pageByNumber(listSubscriptionsRequestCodec.decode(bytes, REQUEST_BYTES_MAX));
        return listSubscriptionsResponseCodec.encode(listings.subscriptionList(grant, caller, page));
      }),
      SetBudget: this.#managing(async (bytes, caller) => {
        const request = setBudgetRequestCodec.decode(bytes, REQUEST_BYTES_MAX);
        const { node } = access.authorize(caller, { verbs: ['manage'], nodes: request.nodes });
        return setBudgetResponseCodec.encode(await budgets.change(request, caller, node));
      }),
      ForgetNodes: this.#managing(async (bytes, caller) => {
        const { nodes } = forgetNodesRequestCodec.decode(bytes, REQUEST_BYTES_MAX);
        const { node } = access.authorize(caller, { verbs: ['manage'], nodes });
        return forgetNodesResponseCodec.encode({ nodes: [...(await forgetting.forget(nodes, caller, node))] });
      }),
      Retire: this.#managing(async (bytes, caller) => {
        return retireResponseCodec.encode(await retirement.ask(isForced(bytes), caller));
      }),
      GetStatus: this.#listing((grant, caller) => {
        return getStatusResponseCodec.encode(listings.status(grant, access.may(caller, { verbs: ['manage'] })));
      }),
    };
  }

  #listing(
    answer: (grant: Grant, caller: Caller, request: Buffer) => Buffer | Promise<Buffer>,
  ): handleUnaryCall<Buffer, Buffer> {
    return unary((bytes, caller) => answer(this.#parts.access.enter(caller, { verbs: ['view'] }), caller, bytes));
  }

  /** Who has not the verb learns nothing of what is wrong with the request, as over HTTP. */
  #managing(answer: (request: Buffer, caller: Caller) => Promise<Buffer>): handleUnaryCall<Buffer, Buffer> {
    return unary((bytes, caller) => {
      this.#parts.access.enter(caller, { verbs: ['manage'] });
      return answer(bytes, caller);
    });
  }

  async #subscribe(call: SubscribeCall): Promise<void> {
    const { subscriptions, access } = this.#parts;
    // Without a listener the error that a cancelled call emits would be unhandled.
    call.on('error', () => undefined);
    const sink = new GrpcSink(call);
    try {
      const caller = callerOf(call);
      const request = subscribeRequestCodec.decode(call.request, REQUEST_BYTES_MAX);
      await subscriptions.deliver(access.subscription(request, caller), sink, caller);
      sink.end();
    } catch (cause) {
      if (!sink.closed.aborted) call.emit('error', callFailure(inProtoNames(cause)));
    }
  }
}

function unary(answer: (request: Buffer, caller: Caller) => Buffer | Promise<Buffer>): handleUnaryCall<Buffer, Buffer> {
  return async (call, respond) => {
    try {
      respond(null, await answer(call.request, callerOf(call)));
    } catch (cause) {
      respond(callFailure(inProtoNames(cause)));
    }
  };
}
