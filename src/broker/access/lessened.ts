/**
 * What counts of a change of roles that is not on record: what it takes away. What it grants waits until the audit can
 * be written, so that nobody has a right of which nothing says since when.
 */
import { isGlob } from '../../subscriptions/request/node-globs.js';
import { type Names, namesOf, type Policy, type Role, type RoleBudgets, topicsOf } from './roles.js';

/**
 * Of each role what both say. Who has a role, and what a role denies, is asked of both when a call comes (authorize):
 * so an identity has no role that it did not have, and what was denied to it stays denied.
 */
export function lessened(before: Policy, after: Policy): Policy {
  const had = new Map(before.roles.map((role) => [role.name, role]));
  const roles = after.roles.map((role) => lesser(had.get(role.name), role));
  return { ...after, roles, revoked: [...before.revoked, ...after.revoked], before };
}

function lesser(before: Role | undefined, after: Role): Role {
  // Two filters are not one: a role whose filter was replaced grants nothing meanwhile.
  const isReplaced = before?.filter !== undefined && after.filter !== undefined && before.filter !== after.filter;
  if (before === undefined || isReplaced) return { ...after, verbs: new Set() };
  const isBorn = (topic: string) => topic.startsWith('app.');
  return {
    ...after,
    verbs: new Set([...after.verbs].filter((verb) => before.verbs.has(verb))),
    topics: topicsOf(common(before.topics, after.topics, isBorn)),
    nodes: namesOf(common(before.nodes, after.nodes)),
    groups: namesOf(common(before.groups, after.groups)),
    historyMs: least(before.historyMs, after.historyMs),
    filter: after.filter ?? before.filter,
    budgets: leastBudgets(before.budgets, after.budgets),
    nodeTemplate: sameTemplate(before, after) ? after.nodeTemplate : undefined,
  };
}

/**
 * Names and globs that both lists have; undefined: both mean all. Of two globs that are not the same nothing is left, even
 * where they have names in common.
 * @param isApart globs that a list which means all does not mean
 */
function common(before: Names, after: Names, isApart = (_glob: string) => false): readonly string[] | undefined {
  if (before.all && after.all) return undefined;
  const meant = ({ all, globs, matches }: Names) => {
    return (glob: string) => (isGlob(glob) ? (all ? !isApart(glob) : globs.includes(glob)) : matches(glob));
  };
  const kept = [...after.globs.filter(meant(before)), ...before.globs.filter(meant(after))];
  return [...new Set(kept)];
}

function leastBudgets(before: RoleBudgets, after: RoleBudgets): RoleBudgets {
  return {
    streams: least(before.streams, after.streams),
    queries: least(before.queries, after.queries),
    rate: least(before.rate, after.rate),
  };
}

/** Undefined: no bound. */
function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

function sameTemplate({ nodeTemplate: a }: Role, { nodeTemplate: b }: Role): boolean {
  return a?.before === b?.before && a?.after === b?.after;
}
