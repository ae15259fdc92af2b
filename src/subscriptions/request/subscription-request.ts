/**
 * A request to subscribe, checked: the same for gRPC, for the JSON body and
 * the query string of HTTP. Values may come as text where the transport has
 * only text; whatever they are, they are checked before they are used.
 */
import { cursorInvalid, invalid } from '../../errors.js';
import { CLIENT_NAME_CHARACTERS_MAX, CURSOR_BYTES_MAX, LAST_MAX } from '../../limits.js';
import { didYouMean, nearest } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { anyDocuments, type DocumentPredicate } from '../predicate.js';
import { checkGroup, type GroupRequest } from './group-request.js';
import { checkLag, checkLatency } from './lag.js';
import { compileNodeGlobs, type NodeGlobs } from './node-globs.js';
import { type SelectedNodes, selectedNodes } from './node-labels.js';
import { checkSelectors, namedTopics, type Selector, type SelectorsRequest } from './selectors.js';
import { checkThrottle, type ThrottleRequest } from './throttle-request.js';
import { countOf, flagOf, textOf, textsOf } from './values.js';
import { resolveWindow, type Window } from './window.js';

/** SubscribeRequest of the protocol, from any transport: fields may be absent, and of any type until checked. */
export interface SubscriptionRequest extends SelectorsRequest {
  readonly nodes?: unknown;
  readonly since?: unknown;
  readonly until?: unknown;
  readonly follow?: unknown;
  readonly last?: unknown;
  readonly limit?: unknown;
  readonly cursor?: unknown;
  readonly includeSelf?: unknown;
  readonly client?: unknown;
  readonly refill?: unknown;
  readonly throttle?: unknown;
  readonly throttleBy?: unknown;
  readonly lagPolicy?: unknown;
  readonly lagMax?: unknown;
  readonly latency?: unknown;
  readonly group?: unknown;
}

/** What a subscriber asks for, before it is bounded. */
export interface Asked {
  /** Those that are named, of all selectors. Names that no topic has are refused later, with their place. */
  readonly topics: readonly string[];
  /** Whether a selector names none, and so means all of them. */
  readonly allTopics: boolean;
  readonly nodes: NodeGlobs;
  readonly window: Window;
  readonly cursor: string;
  /** Of a member: the group's name, as far as it is text. */
  readonly group: string | undefined;
}

/** What the subscriber may have of it. */
export interface Scope {
  /** The topics that are meant where none are named. */
  readonly topics: readonly string[];
  readonly nodes: NodeGlobs;
  /** A filter that must hold besides the subscriber's, canonical. */
  readonly conjunct: string | undefined;
  /** Nothing from before is told, wall nanoseconds. */
  readonly floorNs: bigint | undefined;
  /** Subscriptions of the same subscriber at once, and those that read the past. */
  readonly streamsMax: number | undefined;
  readonly queriesMax: number | undefined;
  /** What was cut off, in sentences for the plan. */
  readonly notes: readonly string[];
  /** All of the above as one text, to compare it with what is granted later. */
  readonly grants: string;
}

/** Undefined: everything. Throws permission_denied for what is named and may not be had. */
export type Bound = (asked: Asked) => Scope | undefined;

export interface CheckedSubscription {
  /** Of the kernel and of all selectors, sorted, each once; empty only where nothing but documents is wanted. */
  readonly topics: readonly string[];
  /** Of which the kernel's topics are wanted. */
  readonly nodes: NodeGlobs;
  /** Whose documents are wanted: `@IDENTITY`. */
  readonly publishers: NodeGlobs;
  /** Topics that are born in the broker, of all selectors; undefined for none. */
  readonly documents: DocumentPredicate | undefined;
  /** At least one; of a request without selectors one whose id is empty. */
  readonly selectors: readonly Selector[];
  readonly window: Window;
  /** End after this many events. 0: no limit. */
  readonly limit: number;
  /** Opaque; empty when none was given. */
  readonly cursor: string;
  /** For people: printable, at most CLIENT_NAME_CHARACTERS_MAX. */
  readonly client: string;
  readonly includeSelf: boolean;
  /** Shed and skipped events are delivered later. */
  readonly refill: boolean;
  readonly throttle: ThrottleRequest | undefined;
  /** A subscriber further behind the log than this continues at the log's end; undefined: never. */
  readonly lagMaxMs: number | undefined;
  /** How long nodes may gather live events; undefined: as their settings say. */
  readonly latencyMs: number | undefined;
  /** Set for a member of a group. */
  readonly group: GroupRequest | undefined;
  /** Set for one slice of a group: `nodes` then matches those of the slice only. */
  readonly slice?: SubscribedSlice | undefined;
  /** What bounds it, and what was asked, by which time; undefined: nothing does. */
  readonly scope?: (Scope & { readonly asked: Asked; readonly askedNs: bigint }) | undefined;
}

/** A part of the nodes of a group, and of the documents that it wants. */
export interface SubscribedSlice {
  /** Whether documents of a key are in it, or of a publisher where they have none. */
  readonly takes: (key: string) => boolean;
  /** The nodes of all slices, which are asked for the group's events as one. */
  readonly groupNodes: NodeGlobs;
  /** All frames of the slice's nodes are in it. */
  readonly partition: number;
  /** Nothing from before is told to the member, wall nanoseconds; undefined: all may be. */
  readonly floorNs: bigint | undefined;
}

const FIELD_NAMES: ReadonlySet<string> = new Set<keyof SubscriptionRequest>([
  'topics',
  'nodes',
  'filter',
  'since',
  'until',
  'follow',
  'last',
  'limit',
  'cursor',
  'includeSelf',
  'client',
  'fields',
  'refill',
  'throttle',
  'throttleBy',
  'lagPolicy',
  'lagMax',
  'latency',
  'group',
  'selectors',
]);
/** Of a subscription to documents alone. */
export const NO_NODES: NodeGlobs = { globs: [], matches: () => false };
/** Opaque tokens are URL-safe text. */
const CURSOR = /^[A-Za-z0-9_.~=+/-]*$/;
/** Controls, and what reorders or hides text on a terminal. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * @param bound says what the subscriber may have; without it everything
 * @throws BackplaneError invalid_argument, filter_invalid or cursor_invalid, naming the field, the bound and the value;
 *   what `bound` throws.
 */
export function checkSubscription(request: SubscriptionRequest, nowNs: bigint, bound?: Bound): CheckedSubscription {
  checkFields(request);
  const cursor = checkCursor(textOf('cursor', request.cursor));
  const includeSelf = flagOf('include_self', request.includeSelf);
  const limit = countOf('limit', request.limit, Number.MAX_SAFE_INTEGER);
  const resolved = resolveWindow(
    {
      since: textOf('since', request.since),
      until: textOf('until', request.until),
      follow: flagOf('follow', request.follow),
      last: countOf('last', request.last, LAST_MAX),
      limit,
      cursor,
    },
    nowNs,
  );
  const selected = selectedNodes(textsOf('node', request.nodes));
  const asked = askedOf(request, selected, resolved, cursor);
  const scope = bound?.(asked);
  // Publishers are named among the nodes, so that what bounds these bounds them.
  const { nodes: publishers } = scope ?? asked;
  const window = scope?.floorNs === undefined ? resolved : windowFrom(resolved, scope.floorNs, cursor);
  const { refill, throttle, lagMaxMs, latencyMs } = checkDelivery(request, window);
  const selectors = checkSelectors(request, includeSelf, throttle, bounded(scope, selected));
  const topics = [...new Set(selectors.flatMap(({ predicate }) => predicate.topics))].sort();
  const client = cleanName(textOf('client', request.client));
  const isNamed = selectors[0]!.id !== '';
  const given =
    selected.condition !== undefined ||
    [request.topics, request.filter, request.fields].some((value) => textsOf('topic', value).join('') !== '');
  const group = checkGroup(
    request.group,
    {
      cursor: cursor !== '',
      until: window.untilNs !== undefined,
      last: window.last > 0,
      limit: limit > 0,
      throttle: throttle !== undefined,
      selectors: isNamed,
    },
    window.follow,
    !given && asked.nodes.globs.length === 0 && !includeSelf,
  );
  const documents = anyDocuments(selectors.flatMap(({ predicate }) => predicate.documents ?? []));
  return {
    topics,
    nodes: topics.length === 0 ? NO_NODES : publishers,
    publishers,
    documents,
    selectors,
    window,
    limit,
    cursor,
    client,
    includeSelf,
    refill,
    throttle,
    lagMaxMs,
    latencyMs,
    group,
    ...(scope === undefined ? {} : { scope: { ...scope, asked, askedNs: nowNs } }),
  };
}

function checkFields(request: SubscriptionRequest): void {
  for (const name of Object.keys(request)) {
    if (FIELD_NAMES.has(name)) continue;
    const meant = nearest(name, FIELD_NAMES);
    const problem = `is not a field of a subscription${didYouMean(meant)}`;
    throw invalid(shown(name), problem, { field: name, suggestion: meant });
  }
}

/** Names that are none are refused later, with their place. */
function groupNamed(group: unknown): string | undefined {
  const name = (group as { readonly name?: unknown } | null | undefined)?.name;
  return typeof name === 'string' ? name : undefined;
}

/** What is selected by labels is a filter that must hold as well, as what may be had is. */
function bounded(scope: Scope | undefined, { condition }: SelectedNodes) {
  const conditions = [scope?.conjunct, condition].filter((each) => each !== undefined);
  if (condition === undefined) return scope;
  return { topics: scope?.topics ?? [], conjunct: conditions.map((each) => `(${each})`).join(' && ') };
}

function askedOf(request: SubscriptionRequest, { globs }: SelectedNodes, window: Window, cursor: string): Asked {
  const nodes = compileNodeGlobs(globs);
  const named = namedTopics(request);
  const topics = named.flat();
  return {
    topics: [...new Set(topics)].sort(),
    allTopics: named.some((each) => each.length === 0),
    nodes,
    window,
    cursor,
    group: groupNamed(request.group),
  };
}

/** A past without a start begins where it may. What comes after a cursor begins there, which is checked with it. */
function windowFrom(window: Window, floorNs: bigint, cursor: string): Window {
  const { history, sinceNs } = window;
  return history && sinceNs === undefined && cursor === '' ? { ...window, sinceNs: floorNs } : window;
}

function checkDelivery(
  request: SubscriptionRequest,
  { follow, last }: Window,
): Pick<CheckedSubscription, 'refill' | 'throttle' | 'lagMaxMs' | 'latencyMs'> {
  const refill = flagOf('refill', request.refill);
  if (refill && !follow) throw invalid('refill', 'needs follow: what comes from recorders alone is not shed');
  const throttle = checkThrottle(
    textOf('throttle', request.throttle),
    textsOf('throttle_by', request.throttleBy).flatMap((text) => text.split(',')),
  );
  if (throttle && last > 0) {
    const how = request.last ? 'excludes last' : 'needs since, until, limit or follow, without which the last few come';
    throw invalid('throttle', `${how}: which events were last is decided at the nodes`);
  }
  const lagMaxMs = checkLag(textOf('lag_policy', request.lagPolicy), textOf('lag_max', request.lagMax));
  if (lagMaxMs !== undefined && !follow)
    throw invalid('lag_policy', 'skip needs follow: the past has no end to skip to');
  const latencyMs = checkLatency(textOf('latency', request.latency));
  if (latencyMs !== undefined && !follow) throw invalid('latency', 'needs follow: what comes from recorders has none');
  return { refill, throttle, lagMaxMs, latencyMs };
}

function checkCursor(cursor: string): string {
  if (cursor.length > CURSOR_BYTES_MAX) {
    throw cursorInvalid(`cursor: must be at most ${CURSOR_BYTES_MAX} bytes, got ${cursor.length}`);
  }
  if (!CURSOR.test(cursor)) throw cursorInvalid('cursor: is not one that Backplane gave');
  return cursor;
}

function cleanName(name: string): string {
  // A character is at most two code units: what is far too long needs no counting.
  const characters = name.length > 4 * CLIENT_NAME_CHARACTERS_MAX ? name.length : [...name].length;
  if (characters > CLIENT_NAME_CHARACTERS_MAX) {
    throw invalid('client', `must be at most ${CLIENT_NAME_CHARACTERS_MAX} characters, got ${characters}`);
  }
  return name.replace(UNPRINTABLE, '').trim();
}
