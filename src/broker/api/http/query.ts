/**
 * Converts query strings of the HTTP API to requests. All values stay text here;
 * they are checked in the same place as gRPC requests.
 */
import { BackplaneError, type ErrorDetails } from '../../../errors.js';
import type { SubscriptionRequest } from '../../../subscriptions/request/subscription-request.js';
import { didYouMean, nearest } from '../../../text/nearest.js';
import { shown } from '../../../text/shown.js';
import type { PageRequest } from '../page.js';

interface Parameter {
  readonly field: keyof SubscriptionRequest;
  /** The field of `group` that it sets. */
  readonly part?: 'name' | 'member' | 'slices' | 'had';
  /** Whether it may be repeated. */
  readonly repeats: boolean;
}

/** By the parameter's name, the field of the request that it sets. */
export const PARAMETERS: Readonly<Record<string, Parameter>> = {
  topic: { field: 'topics', repeats: true },
  node: { field: 'nodes', repeats: true },
  filter: { field: 'filter', repeats: false },
  since: { field: 'since', repeats: false },
  until: { field: 'until', repeats: false },
  follow: { field: 'follow', repeats: false },
  last: { field: 'last', repeats: false },
  limit: { field: 'limit', repeats: false },
  cursor: { field: 'cursor', repeats: false },
  include_self: { field: 'includeSelf', repeats: false },
  fields: { field: 'fields', repeats: true },
  client: { field: 'client', repeats: false },
  refill: { field: 'refill', repeats: false },
  throttle: { field: 'throttle', repeats: false },
  throttle_by: { field: 'throttleBy', repeats: true },
  lag_policy: { field: 'lagPolicy', repeats: false },
  lag_max: { field: 'lagMax', repeats: false },
  latency: { field: 'latency', repeats: false },
  group: { field: 'group', part: 'name', repeats: false },
  member: { field: 'group', part: 'member', repeats: false },
  slices: { field: 'group', part: 'slices', repeats: false },
  had: { field: 'group', part: 'had', repeats: false },
};

const TIMES: ReadonlySet<string> = new Set(['since', 'until']);
/** A time whose offset had a "+", which in a query means a blank. */
const LOST_OFFSET = /\d:\d\d(?:\.\d+)? \d\d:?\d\d$/;
/** Of a list that has pages. */
export const PAGE_PARAMETERS: Readonly<Record<string, keyof PageRequest>> = {
  page_size: 'pageSize',
  page_token: 'pageToken',
};

const FLAGS: ReadonlySet<string> = new Set(['follow', 'include_self', 'refill']);

/** Scheme and authority of an absolute target, as sent to proxies. They are dropped, because Host says the same. */
const ORIGIN = /^https?:\/\/[^/?#]*/i;

export function parseTarget(target: string): { path: string; query: URLSearchParams } {
  const local = target.replace(ORIGIN, '');
  const at = local.indexOf('?');
  const path = at < 0 ? local : local.slice(0, at);
  return { path: path === '' ? '/' : path, query: new URLSearchParams(at < 0 ? '' : local.slice(at + 1)) };
}

/** Throws invalid_argument for any parameter: a listing that ignores a filter would mislead. */
export function checkNoParameters(query: URLSearchParams): void {
  for (const name of query.keys()) {
    throw refused(`unknown parameter ${shown(name)}: there are none here`, { field: name });
  }
}

/** Throws invalid_argument for a parameter that is unknown or repeated. */
export function pageRequest(query: URLSearchParams): PageRequest {
  const request: { -readonly [Field in keyof PageRequest]: string } = {};
  for (const name of new Set(query.keys())) {
    const field = Object.hasOwn(PAGE_PARAMETERS, name) ? PAGE_PARAMETERS[name] : undefined;
    const [value = '', ...others] = query.getAll(name);
    if (field === undefined) throw unknown(name, Object.keys(PAGE_PARAMETERS));
    if (others.length > 0) throw refused(`${name} must be given once, got ${others.length + 1}`, { field: name });
    request[field] = value;
  }
  return request;
}

/** Throws invalid_argument for a parameter that is unknown, empty, or repeated where only one is allowed. */
export function subscriptionRequest(query: URLSearchParams): SubscriptionRequest {
  const request: Record<string, string | string[]> = {};
  const group: Record<string, string> = {};
  for (const name of new Set(query.keys())) {
    const parameter = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined;
    if (parameter === undefined) throw unknown(name, Object.keys(PARAMETERS));
    // "?follow" without a value means true. Any other empty value is refused, as it would ask for more than was meant.
    const values = query.getAll(name).map((value) => (FLAGS.has(name) && value === '' ? 'true' : value));
    if (values.some((value) => value.trim() === '')) {
      throw refused(`${name} must not be empty: leave it out instead`, { field: name });
    }
    if (TIMES.has(name) && values.some((value) => LOST_OFFSET.test(value))) {
      const problem = `${name} must have its offset as %2B, as "+" in a query is a blank, got ${shown(values[0]!)}`;
      throw refused(problem, { field: name, suggestion: values[0]!.replace(/ (?=\S*$)/, '%2B') });
    }
    const { field, part, repeats } = parameter;
    if (repeats) request[field] = values;
    else if (values.length !== 1) throw refused(`${name} must be given once, got ${values.length}`, { field: name });
    else if (part === undefined) request[field] = values[0]!;
    else group[part] = values[0]!;
  }
  if (group.name === undefined && Object.keys(group).length > 0) {
    throw refused('group must be given with member, slices or had, which are of a group', { field: 'group' });
  }
  return group.name === undefined ? request : { ...request, group };
}

function unknown(name: string, known: readonly string[]): BackplaneError {
  const meant = nearest(name, known);
  const problem = `unknown parameter ${shown(name)}${didYouMean(meant)} (known: ${known.join(', ')})`;
  return refused(problem, { field: name, suggestion: meant });
}

function refused(problem: string, details: ErrorDetails): BackplaneError {
  return new BackplaneError('invalid_argument', problem, details);
}
