/** The OpenAPI document, made of the route table and of the messages' JSON Schemas. */
import { closureOf, type JsonSchema, jsonSchemas, propertyAt, REF_PREFIX } from './json-schemas.js';
import { PAGE_PARAMETERS, PARAMETERS } from './query.js';
import type { Route, RouteSchema } from './route.js';
import { EVENT_NAMES, EVENT_STREAM_TYPE, NDJSON_TYPE } from './stream-formats.js';

type OpenApi = { readonly [key: string]: unknown };

/** What every such message has: defaults are not left out of them. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  Problem: ['type', 'title', 'status', 'detail', 'code'],
  StreamEnd: ['reason', 'cursor'],
};

/** Bodies that may be any of several messages. */
const ALTERNATIVES: Readonly<Record<string, readonly string[]>> = {
  PublishInput: ['PublishedEvent', 'PublishBody'],
};

const ref = (name: string) => ({ $ref: REF_PREFIX + name });

export function openApiDocument(routes: readonly Route[], version: string): OpenApi {
  const paths: Record<string, Record<string, OpenApi>> = {};
  for (const route of routes) {
    const { [route.path]: path = {} } = paths;
    path[route.method.toLowerCase()] = operation(route);
    paths[route.path] = path;
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Backplane',
      version,
      description:
        'Kernel events of many nodes, as they happen and as they were recorded. JSON is that of the protos ' +
        '(protojson): 64-bit numbers are texts. In events what is at its default is left out.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: schemas(routes),
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'The content of DATA_DIR/token.' } },
    },
  };
}

function operation({ path, role, schema }: Route): OpenApi {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const parameters = [...inPath, ...queryParameters(schema.query)];
  const { body } = schema;
  return {
    operationId: schema.id,
    summary: schema.summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: ref(body) } } } }),
    responses: {
      '200': { description: 'What was asked for.', content: contentOf(schema) },
      ...(schema.answer.kind === 'stream'
        ? { '204': { description: 'To Last-Event-ID: nothing more will come of what was asked for.' } }
        : {}),
      default: {
        description: 'Why it was refused.',
        content: { 'application/problem+json': { schema: ref('Problem') } },
      },
    },
    security: role === 'open' ? [] : [{ token: [] }],
  };
}

/** Items of streams have a schema of their own: OpenAPI 3.1 has no word for it. */
function contentOf({ answer }: RouteSchema): OpenApi {
  switch (answer.kind) {
    case 'message':
      return { 'application/json': { schema: ref(answer.name) } };
    case 'stream':
      return {
        [NDJSON_TYPE]: { schema: { type: 'string' }, 'x-item-schema': ref('StreamLine') },
        [EVENT_STREAM_TYPE]: { schema: { type: 'string' }, 'x-item-schema': ref('ServerSentEvent') },
      };
    case 'other':
      return { [answer.type]: { schema: answer.type.includes('json') ? { type: 'object' } : { type: 'string' } } };
  }
}

function queryParameters(message: RouteSchema['query']): OpenApi[] {
  switch (message) {
    case undefined:
      return [];
    case 'SubscribeRequest':
      return Object.entries(PARAMETERS).map(([name, { field, part, repeats }]) => ({
        ...queryParameter(name, message, part === undefined ? field : `${field}.${part}`),
        ...(repeats ? { style: 'form', explode: true } : {}),
      }));
    case 'ListNodesRequest':
    case 'ListSubscriptionsRequest':
    case 'ListGroupsRequest':
      return Object.entries(PAGE_PARAMETERS).map(([name, field]) => queryParameter(name, message, field));
  }
}

function queryParameter(name: string, message: string, path: string): OpenApi {
  const { description, ...schema } = propertyAt(message, path) ?? {};
  return { name, in: 'query', ...(description === undefined ? {} : { description }), schema };
}

function schemas(routes: readonly Route[]): Record<string, JsonSchema> {
  const named = routes.flatMap(({ schema: { body, answer } }) => [
    ...(body === undefined ? [] : (ALTERNATIVES[body] ?? [body])),
    ...(answer.kind === 'message' ? [answer.name] : []),
  ]);
  const own = jsonSchemas();
  const made = closureOf([...named, 'StreamLine', 'Problem']).map((name): [string, JsonSchema] => {
    const required = REQUIRED[name];
    return [name, { ...own[name], ...(required === undefined ? {} : { required }) }];
  });
  const either = Object.entries(ALTERNATIVES).map(([name, messages]) => [name, { anyOf: messages.map(ref) }]);
  return { ...Object.fromEntries([...made, ...either]), ServerSentEvent: serverSentEvent() };
}

/** One event of an event stream as an object, its data parsed. */
function serverSentEvent(): JsonSchema {
  const kinds = Object.entries(EVENT_NAMES).map(([key, name]): [string, JsonSchema] => [
    name,
    key === 'event' ? ref('StreamResult') : (propertyAt('StreamResult', key) ?? {}),
  ]);
  kinds.push(['problem', ref('Problem')], ['end', ref('StreamEnd')]);
  return {
    description: 'An event of an event stream, its data parsed. Its id is a cursor, or "end".',
    oneOf: kinds.map(([name, data]) => ({
      type: 'object',
      properties: { event: { const: name }, id: { type: 'string' }, data },
      required: ['event', 'data'],
    })),
  };
}
