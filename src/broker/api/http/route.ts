/** The form of the route table, and how a request finds its route. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { BackplaneError } from '../../../errors.js';
import { shown } from '../../../text/shown.js';
import type { Grant } from '../../access/authorize.js';
import type { Caller } from '../../access/gate.js';
import type { Verb } from '../../access/roles.js';
import { HttpRefusal } from './problem.js';

/**
 * `open` needs no token. The others are what the caller's role must grant: see access/roles.ts. Those of `subscribe`,
 * `publish` and `groups` ask for what their request needs when they have read it.
 */
export type Role = 'open' | Verb;

export interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  /** The parts of the path that the route has in braces, decoded. */
  readonly path: Readonly<Record<string, string>>;
  readonly caller: Caller;
  /** What the caller may; of `open` and `subscribe` routes nothing. */
  readonly grant: Grant;
}

/** Of lists that have pages. */
type ListRequest = 'ListNodesRequest' | 'ListSubscriptionsRequest' | 'ListGroupsRequest';

/** What is asked and answered, for the contents and for OpenAPI. */
export interface RouteSchema {
  /** Unique, in camelCase. */
  readonly id: string;
  /** One line. */
  readonly summary: string;
  /** The request's message that query parameters stand for. */
  readonly query?: 'SubscribeRequest' | ListRequest;
  /** Schema of the JSON body: a message, or one of ALTERNATIVES. */
  readonly body?: string;
  readonly answer: AnswerSchema;
}

type AnswerSchema =
  | { readonly kind: 'message'; readonly name: string }
  /** NDJSON, or server-sent events. */
  | { readonly kind: 'stream' }
  /** Not described further. */
  | { readonly kind: 'other'; readonly type: string };

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Parts in braces are parameters: /v1/nodes/{node} */
  readonly path: string;
  readonly role: Role;
  readonly handler: (call: Call) => void | Promise<void>;
  readonly schema: RouteSchema;
}

export interface Match {
  readonly route: Route;
  readonly path: Readonly<Record<string, string>>;
}

/** The status of an answer that must name the methods. */
export const METHOD_NOT_ALLOWED = 405;

/** The paths of the table, each with the routes of its methods. */
export class Router {
  readonly #paths: readonly { readonly parts: readonly string[]; readonly routes: readonly Route[] }[];

  constructor(routes: readonly Route[]) {
    const paths = new Set(routes.map(({ path }) => path));
    this.#paths = [...paths].map((path) => ({
      parts: path.split('/'),
      routes: routes.filter((route) => route.path === path),
    }));
  }

  /** The methods that a path understands. Throws as `find` does for a path that is none. */
  methods(path: string): readonly string[] {
    return methodsOf(this.#at(path).routes);
  }

  /** Throws invalid_argument for a path of no text, not_found for an unknown one, and 405 for another method. */
  find(method: string, path: string): Match {
    const { routes, path: parameters } = this.#at(path);
    const route = routes.find((each) => each.method === method || (method === 'HEAD' && hasHead(each)));
    if (route !== undefined) return { route, path: parameters };
    const methods = methodsOf(routes).join(' and ');
    throw new HttpRefusal(METHOD_NOT_ALLOWED, 'invalid_argument', `only ${methods} are understood here`);
  }

  #at(path: string): { readonly routes: readonly Route[]; readonly path: Readonly<Record<string, string>> } {
    const given = path.split('/').map((part) => decoded(part, path));
    for (const { parts, routes } of this.#paths) {
      const parameters = parametersOf(parts, given);
      if (parameters !== undefined) return { routes, path: parameters };
    }
    throw new BackplaneError('not_found', `there is nothing at ${shown(path)}: see GET /`);
  }
}

function methodsOf(routes: readonly Route[]): string[] {
  return routes.flatMap((route) => (hasHead(route) ? [route.method, 'HEAD'] : [route.method]));
}

/** Node drops the body of an answer to HEAD. A stream of events sends no headers before its first line. */
function hasHead({ method, schema }: Route): boolean {
  return method === 'GET' && schema.answer.kind !== 'stream';
}

/** Undefined where the path is another. */
function parametersOf(parts: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (parts.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, part] of parts.entries()) {
    const [, name] = /^\{(.+)\}$/.exec(part) ?? [];
    if (name === undefined ? part !== given[index] : given[index] === '') return undefined;
    if (name !== undefined) parameters[name] = given[index]!;
  }
  return parameters;
}

/** What is no text, or has line breaks and the like in it, is refused: it would get into logs and headers. */
function decoded(part: string, path: string): string {
  let text: string;
  try {
    text = decodeURIComponent(part);
  } catch {
    throw new BackplaneError('invalid_argument', `${shown(path)}: the path is not percent-encoded UTF-8`);
  }
  if (!/\p{Cc}/u.test(text)) return text;
  throw new BackplaneError('invalid_argument', `${shown(path)}: the path must not have control characters`);
}
