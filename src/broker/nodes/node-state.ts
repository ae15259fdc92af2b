/**
 * What a broker must know of nodes after it was killed, as entries of the shared state.
 *
 * generation         -> { generation }                 of the interest that nodes were told last
 * claim.ID.GLOBS     -> SavedClaim                     a predicate, and the nodes that are asked for it
 * node.NAME          -> SavedNode
 * holds.NAME         -> { steps, not }                 after which position all matches of predicates are in the log
 * budget.NAME        -> SavedBudget                    what an operator set
 */
import { createHash } from 'node:crypto';
import * as z from 'zod';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { checkName } from '../../subscriptions/request/names.js';
import { keptNodeGlobs } from '../../subscriptions/request/node-globs.js';
import type { SharedState, StateValue } from '../cluster/shared-state.js';
import { HoldSteps, holdStepsSchema, type KeptHolds } from './asked/holds.js';

export const BUDGET_PREFIX = 'budget.';

export interface SavedClaim extends PredicateSpec {
  readonly globs: readonly string[];
  /** The generation that brought it; 0: an earlier version did not say. */
  readonly since?: number | undefined;
}

export interface SavedInterest {
  readonly generation: number;
  /** By claimKey(). */
  readonly claims: ReadonlyMap<string, SavedClaim>;
}

export interface SavedNode {
  readonly name: string;
  readonly recorderId: string;
  readonly replaced?: boolean | undefined;
  readonly epoch: number;
  /** Milliseconds since 1970. For a connected node, a time in the future: the latest before the next save. */
  readonly seenMs: number;
  readonly connected: boolean;
  /** At least one frame of the node became durable. */
  readonly delivered: boolean;
  /** Address of its latest connection, without the port. */
  readonly peer: string;
  readonly holds: KeptHolds;
}

/** A missing field leaves the node's own setting in force. */
export interface SavedBudget {
  readonly liveBytesPerSecond?: number | undefined;
  readonly liveEventsPerSecond?: number | undefined;
  readonly historyBytesPerSecond?: number | undefined;
}

const u64 = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt)
  .refine((value) => value < 1n << 64n);
const whole = z.number().int().nonnegative();
const rate = z.number().int().positive().optional();
const hold = z.tuple([u64, whole, u64, whole.max(0xffff), whole.max(0xffff_ffff)]);
/** keptNodeGlobs throws for invalid globs, and then the entry is refused. */
const globs = z.array(z.string()).refine((texts) => keptNodeGlobs(texts));
const name = z.string().refine((text) => checkName('name', text) === text);

const generation = z.object({ generation: whole });
const claim = z.object({
  id: u64,
  topics: z.array(z.string()),
  filter: z.string(),
  includeSelf: z.boolean(),
  fields: z.array(z.string()).default([]),
  globs,
  since: whole.default(0),
});
const node = z.object({
  name,
  recorderId: z.string(),
  replaced: z.boolean().optional(),
  epoch: whole,
  // Version 0.1 saved these only later. The defaults treat the node as connected until now.
  seenMs: whole.default(() => Date.now()),
  connected: z.boolean().default(true),
  delivered: z.boolean().default(true),
  peer: z.string().default(''),
});
/** By predicate, as version 0.1 wrote it. */
const holdsById = z.object({ holds: z.array(hold) });
const holds = z.union([holdStepsSchema, holdsById]);
const budget = z.object({ liveBytesPerSecond: rate, liveEventsPerSecond: rate, historyBytesPerSecond: rate });

const KINDS = { generation, claim, node, holds, budget } as const;

const interestOfVersion1 = z.object({
  version: z.literal(1),
  generation: whole,
  claims: z.array(claim),
  nodes: z.array(node.extend(holdsById.shape)),
});
const budgetsOfVersion1 = z.object({ version: z.literal(1), nodes: z.record(z.string(), budget) });

type Entry = readonly [key: string, value: StateValue];

/** Throws when the entry is not what a broker writes. */
export function checkNodeState(key: string, value: unknown): void {
  const kind = /^[a-z]+/.exec(key)?.[0] ?? '';
  if (!Object.hasOwn(KINDS, kind)) throw new Error(`no state has the key ${key}`);
  KINDS[kind as keyof typeof KINDS].parse(value);
}

/** The entries of a file of claims and nodes as version 0.1 wrote it. Throws when it is not one. */
export function interestEntriesOfVersion1(file: unknown): Entry[] {
  const { claims, nodes, generation } = interestOfVersion1.parse(file);
  return [
    ...interestEntries({ generation, claims: new Map(claims.map((each) => [claimKey(each.id, each.globs), each])) }),
    ...nodes.flatMap(({ holds, ...each }): Entry[] => [
      [`node.${each.name}`, each],
      [
        `holds.${each.name}`,
        { holds: holds.map(([id, epoch, time, ...rest]) => [`${id}`, epoch, `${time}`, ...rest]) },
      ],
    ]),
  ];
}

/** The entries of a file of budgets as version 0.1 wrote it. Throws when it is not one. */
export function budgetEntriesOfVersion1(file: unknown): Entry[] {
  return Object.entries(budgetsOfVersion1.parse(file).nodes).map(([name, value]) => [budgetKey(name), value]);
}

export function interestEntries({ generation, claims }: SavedInterest): Entry[] {
  return [
    ['generation', { generation }],
    ...[...claims].map(([key, each]): Entry => [key, { ...each, id: each.id.toString() }]),
  ];
}

/** Stays short, however many globs a subscription names. */
export function claimKey(id: bigint, globs: readonly string[]): string {
  const sorted = [...globs].sort().join('\n');
  return `claim.${id}.${createHash('sha256').update(sorted).digest('hex').slice(0, 32)}`;
}

/** @param steps what is held of it now */
export function nodeEntries({ holds: _, ...node }: SavedNode, steps: HoldSteps): Entry[] {
  return [
    [`node.${node.name}`, node],
    [`holds.${node.name}`, steps.toValue()],
  ];
}

export function budgetKey(name: string): string {
  return `${BUDGET_PREFIX}${name}`;
}

export function savedBudget(value: StateValue): SavedBudget {
  return budget.parse(value);
}

export function savedClaim(value: StateValue): SavedClaim {
  return claim.parse(value);
}

/** What was saved last of claims; nothing where nothing was. */
export function savedInterest(state: SharedState): SavedInterest {
  const saved = state.get('generation');
  return {
    generation: saved === undefined ? 0 : generation.parse(saved.value).generation,
    claims: new Map(state.entries('claim.').map(({ key, value }) => [key, savedClaim(value)])),
  };
}

/** What was saved last of nodes. */
export function savedNodes(state: SharedState): SavedNode[] {
  return state.entries('node.').map(({ value }) => {
    const saved = node.parse(value);
    const held = state.get(`holds.${saved.name}`);
    return { ...saved, holds: held === undefined ? HoldSteps.NONE : savedHolds(held.value) };
  });
}

function savedHolds(value: StateValue): KeptHolds {
  if (!('holds' in value)) return HoldSteps.read(value);
  const byId = new Map(
    holdsById.parse(value).holds.map(([id, epoch, timeNs, lane, tie]) => {
      const position = { epoch, timeNs, lane, tie };
      return [id, { position, first: position }];
    }),
  );
  return { get: (id) => byId.get(id) };
}
