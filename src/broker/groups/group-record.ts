/**
 * What is kept of a group, as entries of the shared state.
 *
 * group.NAME             -> GroupRecord     what it subscribes to, and how far each slice is
 * parked.NAME.SLICE      -> ParkedCursor    the place of a cursor that may outlive the log, as positions of nodes; in
 *                                           `others` those that count where this one was not committed after all
 *
 * A group is one entry, so that the slices of one commit are changed together or not at all.
 */
import * as z from 'zod';
import { GROUP_EPOCH_MAX, GROUP_PARKED_BYTES_MAX, GROUP_PLACES_KEPT_MAX, GROUP_SLICES } from '../../limits.js';
import { compileNamed, type Predicate } from '../../subscriptions/predicate.js';
import { checkGroupName } from '../../subscriptions/request/group-request.js';
import { keptNodeGlobs } from '../../subscriptions/request/node-globs.js';
import type { StateValue } from '../cluster/shared-state.js';
import type { HolderId } from './presence/group-presence.js';

export const GROUP_PREFIX = 'group.';
export const PARKED_PREFIX = 'parked.';

export interface SliceRecord {
  /** Of its last assignment: grows with each, also over restarts. */
  readonly epoch: number;
  /** Committed last; empty: nothing was, and the slice begins at the group's `sinceNs`. */
  readonly cursor: string;
  /** When that was, milliseconds since 1970; 0: never. */
  readonly committedMs: number;
  /** Of the cursor, among those that were given in this epoch; undefined: it is of an earlier one. */
  readonly ordinal?: number | undefined;
  /** Whose the slice is in this epoch; undefined: nobody's. It is free, too, when this member is there no more. */
  readonly holder?: HolderId | undefined;
}

export interface GroupRecord {
  readonly name: string;
  /** The identity that made it. */
  readonly owner: string;
  /** Of the kernel, and those that are born in the broker. */
  readonly topics: readonly string[];
  /** Canonical text. */
  readonly filter: string;
  readonly includeSelf: boolean;
  readonly fields: readonly string[];
  /** Of nodes, and what bounds them: see narrowNodes; empty: every node. */
  readonly globs: readonly string[];
  readonly createdMs: number;
  /** Wall nanoseconds: where slices without a cursor begin; 0n: where the recordings do. */
  readonly sinceNs: bigint;
  /** How long interest and cursors outlive the last member. */
  readonly interestMs: number;
  readonly cursorsMs: number;
  /** When the last member left, milliseconds since 1970; undefined while there are some. */
  readonly aloneSinceMs: number | undefined;
  /** One per slice. */
  readonly slices: readonly SliceRecord[];
}

/** The place of a cursor without the log. */
export interface ParkedCursor {
  /** The cursor whose place it is: it is worth nothing for any other. */
  readonly cursor: string;
  /** An encoded note (wire/cursor.ts) with all nodes of the slice, base64. */
  readonly nodes: string;
}

const whole = z.number().int().nonnegative();
const holder = z.object({ broker: z.string(), member: z.string() });
const slice = z.object({
  ...{ epoch: whole.max(GROUP_EPOCH_MAX), cursor: z.string(), committedMs: whole },
  ...{ ordinal: whole.optional(), holder: holder.optional() },
});
const record = z.object({
  name: z.string().refine((text) => checkGroupName('group', text) === text),
  owner: z.string(),
  topics: z.array(z.string()),
  filter: z.string(),
  includeSelf: z.boolean(),
  fields: z.array(z.string()),
  globs: z.array(z.string()).refine((texts) => keptNodeGlobs(texts)),
  createdMs: whole,
  sinceNs: z
    .string()
    .regex(/^\d{1,20}$/)
    .transform(BigInt),
  interestMs: whole,
  cursorsMs: whole,
  aloneSinceMs: whole.optional(),
  slices: z.array(slice).refine(({ length }) => GROUP_SLICES.some((count) => count === length)),
});
const place = z.object({ cursor: z.string(), nodes: z.string().max(GROUP_PARKED_BYTES_MAX) });
const parked = place.extend({ others: z.array(place).max(GROUP_PLACES_KEPT_MAX).optional() });

export function groupKey(name: string): string {
  return `${GROUP_PREFIX}${name}`;
}

/** Names have dots, but the slice behind the last one is a number. */
export function parkedKey(name: string, index: number): string {
  return `${PARKED_PREFIX}${name}.${index}`;
}

export function groupValue({ sinceNs, ...rest }: GroupRecord): StateValue {
  return { ...rest, sinceNs: sinceNs.toString() };
}

/** Throws when it is not what a broker writes. */
export function groupRecord(value: unknown): GroupRecord {
  const { aloneSinceMs, ...rest } = record.parse(value);
  return { ...rest, aloneSinceMs };
}

/** What parkedCursors() reads. Of places that are too long together the last ones are left out. */
export function parkedValue([newest, ...rest]: readonly ParkedCursor[]): StateValue {
  let bytes = newest!.nodes.length;
  const others = rest.filter(({ nodes }) => {
    bytes += nodes.length;
    return bytes <= GROUP_PARKED_BYTES_MAX;
  });
  return { ...newest!, ...(others.length === 0 ? {} : { others }) };
}

/** The newest comes first. */
export function parkedCursors(value: unknown): readonly ParkedCursor[] {
  const { others = [], ...newest } = parked.parse(value);
  return [newest, ...others];
}

/** Throws when the entry is not what a broker writes. */
export function checkGroupState(key: string, value: unknown): void {
  if (key.startsWith(GROUP_PREFIX)) {
    const record = groupRecord(value);
    if (key !== groupKey(record.name)) throw new Error(`${key} is of the group ${record.name}`);
    predicateOf(record);
  } else if (key.startsWith(PARKED_PREFIX)) parkedCursors(value);
  else throw new Error(`no group has the key ${key}`);
}

/** Throws filter_invalid for a filter that this version does not understand. */
export function predicateOf({ topics, filter, includeSelf, fields }: GroupRecord): Predicate {
  return compileNamed({ topics, filter, includeSelf, fields });
}

/** Of a predicate, as a record has them. */
export function allTopics({ topics, documents }: Predicate): readonly string[] {
  return [...topics, ...(documents?.topics ?? [])];
}

/** When the cursors of a group without members end; undefined while it has some. */
export function cursorsUntilMs({ aloneSinceMs, cursorsMs }: GroupRecord): number | undefined {
  return aloneSinceMs === undefined ? undefined : aloneSinceMs + cursorsMs;
}
