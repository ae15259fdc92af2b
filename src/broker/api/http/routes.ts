/** The route table: what the HTTP API has, from which routing, GET / and the OpenAPI document come. */
import { readFileSync } from 'node:fs';
import type { Registry } from 'prom-client';
import { METRICS_INTERVAL_MS, PUBLISH_BYTES_MAX } from '../../../limits.js';
import { pacedMetrics } from '../../../metrics.js';
import { builtFile } from '../../../package-files.js';
import { publicText } from '../../../text/public-text.js';
import {
  explainRequestCodec,
  explainResponseCodec,
  forgetNodesResponseCodec,
  getStatusResponseCodec,
  histogramRequestCodec,
  histogramResponseCodec,
  listBudgetsResponseCodec,
  listFieldsResponseCodec,
  listNodesResponseCodec,
  listSubscriptionsResponseCodec,
  listTopicsResponseCodec,
  publishResponseCodec,
  retireRequestCodec,
  retireResponseCodec,
  setBudgetRequestCodec,
  setBudgetResponseCodec,
} from '../../../wire/messages.js';
import { publishBatchOf } from '../../../wire/publish-request.js';
import type { MessageCodec } from '../../../wire/schema.js';
import type { AccessControl } from '../../access/access-control.js';
import { publishWish } from '../../access/authorize.js';
import type { Caller } from '../../access/gate.js';
import type { Publisher } from '../../app/publisher.js';
import type { Subscriptions } from '../../delivery/subscriptions.js';
import type { GroupService } from '../../groups/group-service.js';
import type { BudgetService } from '../../nodes/budget-service.js';
import type { ForgetService } from '../../nodes/forget-service.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import type { Retirement } from '../../retirement.js';
import { explainRequest } from '../explain.js';
import type { Listings } from '../listings.js';
import { pageByName, pageByNumber } from '../page.js';
import { inProtoNames } from '../proto-names.js';
import { JSON_TYPE, send, sendMessage, sendText } from './answer.js';
import { readJson, readJsonBody } from './body.js';
import { EventRoutes, type Streams } from './events.js';
import { listFields } from './fields.js';
import { groupRoutes } from './group-routes.js';
import { histogram } from './histogram.js';
import { openApiDocument } from './openapi.js';
import { pageRequest } from './query.js';
import type { Call, Role, Route, RouteSchema } from './route.js';

/** The parts of the broker that the HTTP API serves. */
export interface HttpParts {
  readonly version: string;
  readonly subscriptions: Subscriptions;
  readonly registry: NodeRegistry;
  readonly listings: Listings;
  readonly budgets: BudgetService;
  readonly forgetting: ForgetService;
  readonly retirement: Retirement;
  readonly publisher: Publisher;
  readonly groups: GroupService;
  readonly access: AccessControl;
  readonly metrics: Registry;
  /** Why the broker is not ready: it starts or drains, or its log takes no frames. Undefined when it is ready. */
  readonly notReady: () => string | undefined;
  /** Of a broker on NATS: what a power cut may lose. Anybody may read it. */
  readonly durability: (() => string) | undefined;
}

export function routeTable(parts: HttpParts, streams: Streams): readonly Route[] {
  const routes: Route[] = [...eventRoutes(parts, streams), publishRoute(parts), ...nodeRoutes(parts)];
  routes.push(...brokerRoutes(parts), ...groupRoutes(parts.groups));
  routes.push(...openRoutes(parts), ...descriptionRoutes(parts, () => routes));
  return routes;
}

function eventRoutes({ subscriptions, registry, access }: HttpParts, streams: Streams): Route[] {
  const events = new EventRoutes(subscriptions, streams, access);
  const role = 'subscribe';
  const count = (call: Call, request: unknown) => {
    const { caller, response } = call;
    const counted = histogramRequestCodec.fromJson(request);
    return streams.keep(call.request, () => histogram(counted, subscriptions, access, caller, response));
  };
  return [
    {
      ...{ method: 'GET', path: '/v1/events', role, handler: (call) => events.get(call) },
      schema: {
        id: 'getEvents',
        summary: 'events, the last 20 or those asked for (since=5m, follow=true), as NDJSON or an event stream',
        query: 'SubscribeRequest',
        answer: { kind: 'stream' },
      },
    },
    {
      ...{ method: 'POST', path: '/v1/events', role, handler: (call) => events.post(call) },
      schema: {
        id: 'subscribe',
        summary: 'the same, by a SubscribeRequest as JSON',
        body: 'SubscribeRequest',
        answer: { kind: 'stream' },
      },
    },
    asking('POST', '/v1/explain', role, {
      ...{ id: 'explain', summary: 'what a subscription would do' },
      ...{ body: 'ExplainRequest', answer: 'ExplainResponse', codec: explainResponseCodec },
      act: ({ caller }, body) => explainRequest(explainRequestCodec.fromJson(body), registry, access, caller),
    }),
    asking('POST', '/v1/histogram', role, {
      ...{ id: 'histogram', summary: 'how many events a subscription matches, by time' },
      ...{ body: 'HistogramRequest', answer: 'HistogramResponse', codec: histogramResponseCodec, act: count },
    }),
    listing('/v1/fields', {
      ...{ id: 'listFields', summary: 'what filters can name' },
      ...{ answer: 'ListFieldsResponse', codec: listFieldsResponseCodec, read: listFields },
    }),
  ];
}

function publishRoute({ publisher, access }: HttpParts): Route {
  return {
    ...{ method: 'POST', path: '/v1/app/{topic}', role: 'publish' },
    handler: async ({ request, response, path, caller }) => {
      const { topic = '' } = path;
      access.enter(caller, publishWish(topic));
      const { json, bytes } = await readJson(request, PUBLISH_BYTES_MAX);
      const batch = publishBatchOf(json, topic, bytes);
      sendMessage(response, publishResponseCodec, await publisher.publish(caller.identity, batch));
    },
    schema: {
      id: 'publish',
      summary: 'events of your own, one or {"events": […]}; the topic is app.NAME, or alert',
      body: 'PublishInput',
      answer: { kind: 'message', name: 'PublishResponse' },
    },
  };
}

function nodeRoutes({ listings, budgets, forgetting, access }: HttpParts): Route[] {
  const managed = (caller: Caller, nodes: readonly string[]) =>
    access.authorize(caller, { verbs: ['manage'], nodes }).node;
  return [
    listing('/v1/nodes', {
      ...{ id: 'listNodes', summary: 'the nodes, and how they are' },
      ...{ answer: 'ListNodesResponse', codec: listNodesResponseCodec, query: 'ListNodesRequest' },
      read: ({ grant, query }) => listings.nodes(grant, pageByName(pageRequest(query))),
    }),
    {
      ...{ method: 'DELETE', path: '/v1/nodes/{node}', role: 'manage' },
      handler: async ({ path, response, caller }) => {
        const asked = [path.node ?? ''];
        const nodes = await forgetting.forget(asked, caller, managed(caller, asked));
        sendMessage(response, forgetNodesResponseCodec, { nodes: [...nodes] });
      },
      schema: {
        id: 'forgetNodes',
        summary: 'a node that is gone is no longer listed (a name, or a glob like fake-*)',
        answer: { kind: 'message', name: 'ForgetNodesResponse' },
      },
    },
    listing('/v1/budgets', {
      ...{ id: 'listBudgets', summary: 'the rates at which nodes may send' },
      ...{
        answer: 'ListBudgetsResponse',
        codec: listBudgetsResponseCodec,
        read: ({ grant }) => budgets.list(grant.node),
      },
    }),
    asking('PUT', '/v1/budgets', 'manage', {
      ...{ id: 'setBudget', summary: 'sets them, by a SetBudgetRequest as JSON' },
      ...{ body: 'SetBudgetRequest', answer: 'SetBudgetResponse', codec: setBudgetResponseCodec },
      act: ({ caller }, body) => {
        const request = setBudgetRequestCodec.fromJson(body);
        return budgets.change(request, caller, managed(caller, request.nodes));
      },
    }),
  ];
}

function brokerRoutes({ listings, access, retirement }: HttpParts): Route[] {
  return [
    listing('/v1/topics', {
      ...{ id: 'listTopics', summary: 'the topics, and what they hold' },
      ...{ answer: 'ListTopicsResponse', codec: listTopicsResponseCodec, read: ({ grant }) => listings.topics(grant) },
    }),
    listing('/v1/subscriptions', {
      ...{ id: 'listSubscriptions', summary: 'who is subscribed to what', answer: 'ListSubscriptionsResponse' },
      ...{ codec: listSubscriptionsResponseCodec, query: 'ListSubscriptionsRequest' },
      read: ({ grant, caller, query }) => listings.subscriptionList(grant, caller, pageByNumber(pageRequest(query))),
    }),
    listing('/v1/status', {
      ...{ id: 'getStatus', summary: 'this broker' },
      ...{ answer: 'GetStatusResponse', codec: getStatusResponseCodec },
      read: ({ grant, caller }) => listings.status(grant, access.may(caller, { verbs: ['manage'] })),
    }),
    asking('POST', '/v1/retire', 'manage', {
      ...{ id: 'retire', summary: 'its agents and subscribers go to other brokers, by a RetireRequest as JSON' },
      ...{ body: 'RetireRequest', answer: 'RetireResponse', codec: retireResponseCodec },
      act: ({ caller }, body) => retirement.ask(retireRequestCodec.fromJson(body).force, caller),
    }),
  ];
}

function openRoutes({ metrics, notReady, durability }: HttpParts): Route[] {
  const text = pacedMetrics(metrics, METRICS_INTERVAL_MS);
  return [
    open('/healthz', 'getHealth', '200 while it runs', 'text/plain', ({ response }) => {
      sendText(response, 200, 'ok\n');
    }),
    open('/readyz', 'getReadiness', '200 while it takes and serves events', 'text/plain', ({ response }) => {
      const reason = notReady();
      const further = durability === undefined ? '' : `durability: ${durability()}\n`;
      sendText(response, reason === undefined ? 200 : 503, publicText(`${reason ?? 'ok'}\n${further}`));
    }),
    open('/metrics', 'getMetrics', 'for Prometheus', 'text/plain', async ({ response }) => {
      send(response, 200, metrics.contentType, await text());
    }),
  ];
}

/** What the table says of itself. */
function descriptionRoutes({ version }: HttpParts, table: () => readonly Route[]): Route[] {
  let document: Buffer | undefined;
  let descriptors: Buffer | undefined;
  return [
    open('/openapi.json', 'getOpenApi', 'this API as an OpenAPI 3.1 document', 'application/json', ({ response }) => {
      document ??= Buffer.from(`${JSON.stringify(openApiDocument(table(), version))}\n`);
      send(response, 200, JSON_TYPE, document);
    }),
    open(
      ...(['/descriptors.binpb', 'getDescriptors', 'the protos, as a FileDescriptorSet'] as const),
      'application/x-protobuf',
      ({ response }) => {
        descriptors ??= readFileSync(builtFile('descriptors/backplane.binpb'));
        send(response, 200, 'application/x-protobuf', descriptors);
      },
    ),
    open('/', 'getContents', 'this list', 'text/plain', ({ response }) => sendText(response, 200, contents(table()))),
  ];
}

/** The answer to GET /. */
function contents(routes: readonly Route[]): string {
  const rows = routes.map(({ method, path, schema }) => [`${method} ${path}`, schema.summary] as const);
  const width = Math.max(...rows.map(([request]) => request.length));
  return [
    'Backplane: kernel events of many nodes, as they happen and as they were recorded.',
    '',
    ...rows.map(([request, summary]) => `${request.padEnd(width)}  ${summary}`),
    '',
    'What is below /v1 wants a token, such as that of the broker in DATA_DIR/token: Authorization: Bearer TOKEN.',
    '',
  ].join('\n');
}

function open(path: string, id: string, summary: string, type: string, handler: Route['handler']): Route {
  return { method: 'GET', path, role: 'open', handler, schema: { id, summary, answer: { kind: 'other', type } } };
}

interface Described<In extends object> {
  readonly id: string;
  readonly summary: string;
  /** Message of the answer. */
  readonly answer: string;
  readonly codec: MessageCodec<In, unknown>;
}

/** A list that is read. */
function listing<In extends object>(
  path: string,
  what: Described<In> & { readonly read: (call: Call) => In | Promise<In>; readonly query?: RouteSchema['query'] },
): Route {
  const { id, summary, answer: name, codec, read, query } = what;
  const handler = async (call: Call) => sendMessage(call.response, codec, await read(call));
  const schema = { id, summary, ...(query === undefined ? {} : { query }), answer: { kind: 'message', name } } as const;
  return { method: 'GET', path, role: 'view', handler, schema };
}

/** A message in the body, a message as the answer. */
function asking<In extends object>(
  method: 'POST' | 'PUT',
  path: string,
  role: Role,
  what: Described<In> & { readonly body: string; readonly act: (call: Call, body: unknown) => In | Promise<In> },
): Route {
  const { id, summary, body, answer: name, codec, act } = what;
  const handler = async (call: Call) => {
    const given = await readJsonBody(call.request);
    try {
      sendMessage(call.response, codec, await act(call, given));
    } catch (cause) {
      throw inProtoNames(cause);
    }
  };
  return { method, path, role, handler, schema: { id, summary, body, answer: { kind: 'message', name } } };
}
