/**
 * Whether an identity may do what it wishes: one function, which depends on nothing but its parameters, for gRPC, HTTP,
 * groups, cursors and publishing.
 */
import { BackplaneError, type ErrorDetails } from '../../errors.js';
import { msToNs } from '../../nanoseconds.js';
import { isGlob } from '../../subscriptions/request/node-globs.js';
import { shown } from '../../text/shown.js';
import { durationMsText, timestampNsText } from '../../text/time-text.js';
import { EVERY_APP_TOPIC } from '../../wire/event/document-topics.js';
import type { Identity } from './gate.js';
import { type Names, nodeNamed, type Policy, type Role, type RoleBudgets, type Verb } from './roles.js';

export interface Wish {
  /** All of them are needed, of one role. */
  readonly verbs: readonly Verb[];
  /** Topics by their names. None: those that are granted. */
  readonly topics?: readonly string[] | undefined;
  /** Names, which must be granted, and globs, of which the nodes that are granted are meant. None: those. */
  readonly nodes?: readonly string[] | undefined;
  readonly group?: string | undefined;
  /** The window, wall nanoseconds. No start: from as far back as is granted. */
  readonly sinceNs?: bigint | undefined;
  readonly untilNs?: bigint | undefined;
  /** The time by which depth is counted. */
  readonly nowNs?: bigint | undefined;
  /** The node as which an agent greets; '' where it leaves that to its certificate. */
  readonly helloNode?: string | undefined;
}

/** What it takes to publish to a topic. */
export function publishWish(topic: string): Wish {
  return { verbs: [topic === 'alert' ? 'publish_alert' : 'publish'], topics: [topic] };
}

/** What of a wish is granted. */
export interface Grant {
  /** The role that grants it, for people. */
  readonly role: string;
  /** Undefined: all of them. Otherwise those within, without the denied. */
  readonly topic: (name: string) => boolean;
  readonly node: (name: string) => boolean;
  readonly group: (name: string) => boolean;
  /** Node globs that bound the selection; undefined: none. */
  readonly nodesWithin: readonly string[] | undefined;
  readonly nodesWithout: readonly string[];
  /** Nothing from before may be told, wall nanoseconds; undefined: all may. */
  readonly floorNs: bigint | undefined;
  /** Joined to every filter, canonical. */
  readonly filter: string | undefined;
  readonly budgets: RoleBudgets;
  /** The node as which the agent is known. */
  readonly helloNode: string;
  /** All topics and nodes, no filter and no floor. */
  readonly whole: boolean;
}

const ALL: Names = { all: true, globs: [], matches: () => true };
const NONE: Names = { all: false, globs: [], matches: () => false };

/** Whoever holds the broker's own token, and everybody where no token is wanted and no roles are given. */
const EVERYTHING: Omit<Role, 'name' | 'verbs'> = {
  topics: ALL,
  nodes: ALL,
  groups: ALL,
  historyMs: undefined,
  filter: undefined,
  budgets: {},
  nodeTemplate: undefined,
  deny: { verbs: new Set(), topics: NONE, nodes: NONE, groups: NONE },
};

/** For calls that are let in without asking. */
export const NOTHING: Grant = granted(
  { ...EVERYTHING, name: '', verbs: new Set(), topics: NONE, nodes: NONE, groups: NONE },
  EVERYTHING.deny,
  { verbs: [] },
  '',
);

/** Why a role does not grant a wish; of several the one that comes closest is told. */
interface Refusal {
  readonly rank: number;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** Throws permission_denied, naming what is not granted; for times the earliest that is. */
export function authorize(policy: Policy, identity: Identity, wish: Wish): Grant {
  if (identity.kind === 'local' || (identity.kind === 'anonymous' && !policy.fromFile)) {
    return granted({ ...EVERYTHING, name: 'local', verbs: new Set() }, EVERYTHING.deny, wish, wish.helloNode ?? '');
  }
  const bound = rolesOf(policy, identity);
  const boundBefore = policy.before && rolesOf(policy.before, identity);
  const denied = deniedBy([...bound, ...(boundBefore ?? [])]);
  const roles = bound.filter(({ name }) => boundBefore?.some((role) => role.name === name) ?? true);
  let closest: Refusal | undefined;
  for (const role of roles) {
    const answer = tried(role, denied, identity, wish);
    if (!('rank' in answer)) return answer;
    if (closest === undefined || answer.rank > closest.rank) closest = answer;
  }
  const { message, details } = closest ?? noRole(policy);
  throw new BackplaneError('permission_denied', `${describe(identity)} ${message}`, details);
}

/** In the order of the file. */
function rolesOf(policy: Policy, { name, kind, groups = [] }: Identity): readonly Role[] {
  const bound = policy.bindings.filter((binding) => {
    if (!binding.kinds.has(kind)) return false;
    return binding.identities(name) || groups.some((group) => binding.groups.has(group));
  });
  const names = new Set(bound.map(({ role }) => role));
  return policy.roles.filter((role) => names.has(role.name));
}

function deniedBy(roles: readonly Role[]): Role['deny'] {
  const union = (of: (role: Role) => Names): Names => {
    const lists = roles.map(of).filter(({ globs }) => globs.length > 0);
    const globs = [...new Set(lists.flatMap((names) => names.globs))];
    return { all: false, globs, matches: (name) => lists.some((names) => names.matches(name)) };
  };
  return {
    verbs: new Set(roles.flatMap(({ deny }) => [...deny.verbs])),
    topics: union(({ deny }) => deny.topics),
    nodes: union(({ deny }) => deny.nodes),
    groups: union(({ deny }) => deny.groups),
  };
}

function tried(role: Role, denied: Role['deny'], identity: Identity, wish: Wish): Grant | Refusal {
  const verb = wish.verbs.find((each) => !role.verbs.has(each) || denied.verbs.has(each));
  if (verb !== undefined)
    return { rank: 0, message: `may not do this: no role grants it the verb "${verb}"`, details: {} };
  const topic = wish.topics?.find((each) => !role.topics.matches(each) || deniesTopic(denied.topics, each));
  if (topic !== undefined) {
    return { rank: 1, message: `may not use the topic ${shown(topic)}`, details: { field: 'topics' } };
  }
  const grantsNode = (name: string) => role.nodes.matches(name) && !denied.nodes.matches(name);
  const node = wish.nodes?.find((each) => !isGlob(each) && !grantsNode(each));
  if (node !== undefined) {
    return { rank: 2, message: `may not use the node ${shown(node)}`, details: { field: 'nodes' } };
  }
  const { group } = wish;
  if (group !== undefined && (!role.groups.matches(group) || denied.groups.matches(group))) {
    return { rank: 3, message: `may not use the group ${shown(group)}`, details: { field: 'group' } };
  }
  const helloNode = helloNodeOf(role, identity, wish, grantsNode);
  if (typeof helloNode !== 'string') return helloNode;
  return beyondDepth(role, wish) ?? granted(role, denied, wish, helloNode);
}

/** All topics of applications are denied with any of them: they are asked for as one. */
function deniesTopic({ matches, globs }: Names, topic: string): boolean {
  if (topic !== EVERY_APP_TOPIC) return matches(topic);
  return globs.some((glob) => {
    const [fixed = ''] = glob.split(/[*?]/);
    return fixed.startsWith('app.') || (isGlob(glob) && 'app.'.startsWith(fixed));
  });
}

/** An agent is the node that its certificate names, or, by a token, one of those that the role names. */
function helloNodeOf(
  role: Role,
  identity: Identity,
  { helloNode }: Wish,
  grantsNode: (name: string) => boolean,
): string | Refusal {
  if (helloNode === undefined) return '';
  const refuse = (message: string): Refusal => ({ rank: 4, message, details: { field: 'hello.node' } });
  if (identity.kind !== 'certificate') {
    return grantsNode(helloNode) ? helloNode : refuse(`may not be the node ${shown(helloNode)}`);
  }
  const node = role.nodeTemplate && nodeNamed(role.nodeTemplate, identity.name);
  if (node === undefined) return refuse('is the certificate of no node');
  if (helloNode !== '' && helloNode !== node) {
    return refuse(`is the certificate of the node ${shown(node)}, not of ${shown(helloNode)}`);
  }
  return grantsNode(node) ? node : refuse(`may not be the node ${shown(node)}`);
}

function beyondDepth({ historyMs }: Role, wish: Wish): Refusal | undefined {
  const floorNs = floorOf(historyMs, wish);
  if (floorNs === undefined || !wish.verbs.includes('history')) return undefined;
  const { sinceNs, untilNs } = wish;
  const field = sinceNs !== undefined && sinceNs < floorNs ? 'since' : 'until';
  if (field === 'until' && (untilNs === undefined || untilNs > floorNs)) return undefined;
  return { rank: 5, ...depthRefusal(floorNs, historyMs!, field) };
}

function depthRefusal(floorNs: bigint, historyMs: number, field: string): Pick<Refusal, 'message' | 'details'> {
  const earliest = timestampNsText(floorNs);
  return {
    message: `may go back ${durationMsText(historyMs)}: ${field} must be at the earliest ${earliest}`,
    details: { field, oldest: earliest },
  };
}

/** A cursor of which something would come from before what may be told. */
export function cursorBeyondDepth(floorNs: bigint): BackplaneError {
  const earliest = timestampNsText(floorNs);
  return new BackplaneError(
    'permission_denied',
    `cursor: it stands before the earliest that may be told, ${earliest}: begin with since`,
    { field: 'cursor', oldest: earliest },
  );
}

function floorOf(historyMs: number | undefined, { nowNs }: Wish): bigint | undefined {
  return historyMs === undefined || nowNs === undefined ? undefined : nowNs - msToNs(historyMs);
}

function granted(role: Omit<Role, 'deny'>, denied: Role['deny'], wish: Wish, helloNode: string): Grant {
  const { topics, nodes, groups, filter, budgets } = role;
  const floorNs = floorOf(role.historyMs, wish);
  const denies = denied.topics.globs.length + denied.nodes.globs.length > 0;
  return {
    role: role.name,
    topic: (name) => topics.matches(name) && !denied.topics.matches(name),
    node: (name) => nodes.matches(name) && !denied.nodes.matches(name),
    group: (name) => groups.matches(name) && !denied.groups.matches(name),
    nodesWithin: nodes.all ? undefined : nodes.globs,
    nodesWithout: denied.nodes.globs,
    floorNs,
    filter,
    budgets,
    helloNode,
    whole: topics.all && nodes.all && !denies && filter === undefined && floorNs === undefined,
  };
}

function noRole({ fromFile }: Policy): Pick<Refusal, 'message' | 'details'> {
  const why = fromFile ? 'no role is bound to it' : "there is no file of roles, so only the broker's own token may";
  return { message: `may not do this: ${why}`, details: {} };
}

/** For people: `token "alice"`. */
export function describe({ kind, name }: Identity): string {
  return kind === 'anonymous' ? 'who has no credential' : `${kind} ${shown(name)}`;
}
