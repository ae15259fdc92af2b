/**
 * What identities may do, as a file says it:
 *
 *   roles:
 *     NAME:
 *       verbs: [subscribe, history]     view, subscribe, history, publish, publish_alert, groups, manage, join, uplink
 *       topics: [process, "app.*"]      names or globs; without it every topic of the kernel
 *       nodes: ["prod-*"]               names or globs; without it every node
 *       history: 24h                    how far back; without it as far as there is
 *       filter: process.user.id != 0    joined to every filter
 *       groups: ["triage-*"]            names or globs; without it every group
 *       budgets: { streams: 10, queries: 2, rate: 20 }      of one identity; rate in calls per second
 *       node: spiffe://backplane/node/{node}                the node whose agent a certificate is
 *       deny: { verbs: [], topics: [], nodes: [], groups: [] }
 *   bindings:
 *     - { role: NAME, identities: [alice, "team-*"], groups: [soc], kinds: [token, jwt] }
 *   revoked: []                         certificates that no longer count: see revoked.ts
 *
 * A role answers a call whole: what two roles grant is not mixed, so that the filter of one is never missed by way of
 * the other. What any role of an identity denies is denied, whatever the others grant.
 */
import { parse as parseYaml } from 'yaml';
import * as z from 'zod';
import { BackplaneError } from '../../errors.js';
import {
  BINDINGS_MAX,
  IDENTITY_CHARACTERS_MAX,
  NAME_BYTES_MAX,
  ROLE_NAMES_MAX,
  ROLES_MAX,
  SUBSCRIPTIONS_MAX,
} from '../../limits.js';
import { compilePredicate } from '../../subscriptions/predicate.js';
import { compileGlobs, compileNodeGlobs } from '../../subscriptions/request/node-globs.js';
import { didYouMean, nearest } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { parseDurationMs } from '../../text/time-text.js';
import { documentLogOf, EVERY_APP_TOPIC } from '../../wire/event/document-topics.js';
import { TOPICS } from '../../wire/event/event.js';
import { compileRevoked, type Revoked, revokedForm } from './revoked.js';

const VERBS = [
  'view',
  'subscribe',
  'history',
  'publish',
  'publish_alert',
  'groups',
  'manage',
  'join',
  'uplink',
] as const;
export type Verb = (typeof VERBS)[number];

export interface Names {
  /** Nothing is left out: no list was given. */
  readonly all: boolean;
  /** Names or globs, as given. */
  readonly globs: readonly string[];
  readonly matches: (name: string) => boolean;
}

export interface RoleBudgets {
  /** Subscriptions at once. */
  readonly streams?: number | undefined;
  /** Subscriptions at once that read recorders. */
  readonly queries?: number | undefined;
  /** Calls per second. */
  readonly rate?: number | undefined;
}

export interface Role {
  readonly name: string;
  readonly verbs: ReadonlySet<Verb>;
  readonly topics: Names;
  readonly nodes: Names;
  readonly groups: Names;
  /** Undefined: no bound. */
  readonly historyMs: number | undefined;
  /** Canonical text; undefined: none. */
  readonly filter: string | undefined;
  readonly budgets: RoleBudgets;
  readonly nodeTemplate: NodeTemplate | undefined;
  readonly deny: Denied;
}

export interface Denied {
  readonly verbs: ReadonlySet<Verb>;
  readonly topics: Names;
  readonly nodes: Names;
  readonly groups: Names;
}

export interface NodeTemplate {
  readonly before: string;
  readonly after: string;
}

export type BoundKind = 'anonymous' | 'certificate' | 'token' | 'jwt';

interface Binding {
  readonly role: string;
  readonly identities: (name: string) => boolean;
  readonly groups: ReadonlySet<string>;
  readonly kinds: ReadonlySet<string>;
}

/** In the order of the file, which decides where several roles grant the same. */
export interface Policy {
  /** Without a file whoever may connect without a credential (--no-token) may everything. */
  readonly fromFile: boolean;
  readonly roles: readonly Role[];
  readonly bindings: readonly Binding[];
  readonly revoked: readonly Revoked[];
  /** Who has a role must have it by this one, too, and what it denies is denied: see lessened. */
  readonly before?: Policy | undefined;
}

/** The agents of nodes, by certificates that name the node; in force unless a file has a role of this name. */
const AGENT = {
  roles: { agent: { verbs: ['uplink'], node: 'spiffe://backplane/node/{node}' } },
  bindings: [{ role: 'agent', identities: ['spiffe://backplane/node/*'], kinds: ['certificate'] }],
};

const names = z
  .array(z.string().min(1).max(IDENTITY_CHARACTERS_MAX))
  .max(ROLE_NAMES_MAX, `must be at most ${ROLE_NAMES_MAX} names`);
const verbs = z.array(z.enum(VERBS, { error: `must be of ${VERBS.join(', ')}` })).max(VERBS.length);
const bound = (max: number) => z.number().int().min(1).max(max);
const roleForm = z.strictObject({
  verbs: verbs.default([]),
  topics: names.optional(),
  nodes: names.optional(),
  history: z.string().optional(),
  filter: z.string().optional(),
  groups: names.optional(),
  budgets: z
    .strictObject({
      streams: bound(SUBSCRIPTIONS_MAX).optional(),
      queries: bound(SUBSCRIPTIONS_MAX).optional(),
      rate: z.number().positive().max(1_000_000).optional(),
    })
    .default({}),
  node: z.string().max(IDENTITY_CHARACTERS_MAX).optional(),
  deny: z
    .strictObject({
      verbs: verbs.default([]),
      topics: names.default([]),
      nodes: names.default([]),
      groups: names.default([]),
    })
    .default({ verbs: [], topics: [], nodes: [], groups: [] }),
});
const KINDS = ['anonymous', 'certificate', 'token', 'jwt'] as const satisfies readonly BoundKind[];
const bindingForm = z.strictObject({
  role: z.string(),
  identities: names.default([]),
  groups: names.default([]),
  kinds: z.array(z.enum(KINDS, { error: `must be of ${KINDS.join(', ')}` })).default(['certificate', 'token', 'jwt']),
});
const policyForm = z.strictObject({
  roles: z.record(z.string().regex(/^[\w.-]{1,64}$/), roleForm).default({}),
  bindings: z.array(bindingForm).max(BINDINGS_MAX, `must be at most ${BINDINGS_MAX}`).default([]),
  revoked: revokedForm.default([]),
});

/** Where no file is named: agents by their certificates, and nobody else. */
export const NO_ROLES: Policy = { ...compile(AGENT), fromFile: false };

/** @throws BackplaneError invalid_argument: one line that names the place, the bound and the value. */
export function parseRoles(text: string): Policy {
  let document: unknown;
  try {
    document = parseYaml(text, { maxAliasCount: 0, logLevel: 'error' });
  } catch (cause) {
    throw refused(cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause));
  }
  const { roles, bindings, revoked } = compile(document ?? {});
  const own = roles.some(({ name }) => name === 'agent');
  return {
    fromFile: true,
    revoked,
    roles: own ? roles : [...roles, ...NO_ROLES.roles],
    bindings: own ? bindings : [...bindings, ...NO_ROLES.bindings],
  };
}

function compile(document: unknown): Pick<Policy, 'roles' | 'bindings' | 'revoked'> {
  const form = policyForm.safeParse(document);
  if (!form.success) {
    const { path, message } = form.error.issues[0]!;
    throw refused(`${path.length === 0 ? 'the file' : path.join('.')}: ${message}`);
  }
  const { roles, bindings, revoked } = form.data;
  const known = Object.keys(roles);
  if (known.length > ROLES_MAX) throw refused(`roles must be at most ${ROLES_MAX}, got ${known.length}`);
  return {
    revoked: revoked.map(compileRevoked),
    roles: Object.entries(roles).map(([name, role]) => compileRole(name, role)),
    bindings: bindings.map(({ role, identities, groups, kinds }, index) => {
      if (!known.includes(role)) {
        const meant = didYouMean(nearest(role, known));
        throw refused(`bindings.${index}.role: there is no role ${shown(role)}${meant}`);
      }
      if (identities.length + groups.length === 0) {
        throw refused(`bindings.${index} must have identities or groups`);
      }
      return { role, identities: namesOf(identities).matches, groups: new Set(groups), kinds: new Set(kinds) };
    }),
  };
}

function compileRole(name: string, role: z.output<typeof roleForm>): Role {
  const where = `roles.${name}`;
  for (const [field, globs] of [
    ['nodes', role.nodes],
    ['deny.nodes', role.deny.nodes],
  ] as const) {
    named(`${where}.${field}`, () => compileNodeGlobs(globs ?? []));
  }
  for (const topic of [...(role.topics ?? []), ...role.deny.topics]) checkTopic(where, topic);
  const historyMs = role.history === undefined ? undefined : parseDurationMs(role.history);
  if (role.history !== undefined && (historyMs === undefined || historyMs < 0)) {
    throw refused(`${where}.history must be a duration such as "24h", got ${shown(role.history)}`);
  }
  // A list without names grants nothing; no list grants all.
  return {
    name,
    verbs: new Set(role.verbs),
    topics: topicsOf(role.topics),
    nodes: namesOf(role.nodes),
    groups: namesOf(role.groups),
    historyMs,
    filter: role.filter === undefined ? undefined : canonicalFilter(where, role.filter, role.topics),
    budgets: role.budgets,
    nodeTemplate: role.node === undefined ? undefined : templateOf(where, role.node),
    deny: {
      verbs: new Set(role.deny.verbs),
      topics: namesOf(role.deny.topics),
      nodes: namesOf(role.deny.nodes),
      groups: namesOf(role.deny.groups),
    },
  };
}

/** No list at all matches everything, an empty one nothing. */
export function namesOf(globs: readonly string[] | undefined): Names {
  if (globs === undefined) return { all: true, globs: [], matches: () => true };
  return { all: false, globs, matches: compileGlobs(globs) };
}

/**
 * The kernel's topics as names are. What is born in the broker is another matter, so it must be named: by its name, or
 * for applications by a glob that begins with `app.`; neither a star nor a missing list means it.
 */
export function topicsOf(globs: readonly string[] | undefined): Names {
  const names = namesOf(globs);
  const exact = new Set(globs);
  const isOfApplications = compileGlobs((globs ?? []).filter((glob) => glob.startsWith('app.')));
  const matches = (topic: string) => {
    if (documentLogOf(topic) === undefined) return names.matches(topic);
    return exact.has(topic) || (topic !== EVERY_APP_TOPIC && isOfApplications(topic));
  };
  return { ...names, matches };
}

/** A name that no topic has would silently grant nothing. */
function checkTopic(where: string, topic: string): void {
  const known = Object.keys(TOPICS);
  if (/[*?]/.test(topic) || topic.startsWith('app.') || ['alert', 'audit'].includes(topic)) return;
  if (known.includes(topic)) return;
  throw refused(`${where}.topics: unknown topic ${shown(topic)}${didYouMean(nearest(topic, known))}`);
}

function canonicalFilter(where: string, filter: string, topics: readonly string[] = []): string {
  // Of what is born in the broker any fields may be meant.
  const documents = topics.filter((topic) => topic.startsWith('app.') || documentLogOf(topic) !== undefined);
  const options = { topics: [], documents, filter, includeSelf: true, refuseImpossible: true };
  return named(`${where}.filter`, () => compilePredicate(options)).canonical;
}

function templateOf(where: string, template: string): NodeTemplate {
  const parts = template.split('{node}');
  const [before = '', after = ''] = parts;
  if (parts.length !== 2 || /[{}]/.test(before + after) || before === '') {
    throw refused(`${where}.node must have {node} once, behind other text, got ${shown(template)}`);
  }
  return { before, after };
}

/** The node that an identity's name stands for; undefined where the template does not match. */
export function nodeNamed({ before, after }: NodeTemplate, identity: string): string | undefined {
  if (!identity.startsWith(before) || !identity.endsWith(after)) return undefined;
  const node = identity.slice(before.length, identity.length - after.length);
  const isName = node.length <= NAME_BYTES_MAX && /^[A-Za-z0-9_.][A-Za-z0-9_.-]*$/.test(node);
  return isName && before.length + after.length < identity.length ? node : undefined;
}

function named<T>(where: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof BackplaneError) throw refused(`${where}: ${cause.message}`);
    throw cause;
  }
}

function refused(reason: string): BackplaneError {
  return new BackplaneError('invalid_argument', reason);
}
