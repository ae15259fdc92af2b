/**
 * Cuts encoded events down to the fields that are asked for, without decoding them. The node keeps the union of all
 * requested fields, and the broker cuts down to each subscription's own.
 *
 *   Run := 0x2a | length varint | Event        (EventBatch field 5)
 */
import { LENGTH, ProtoReader, ProtoWriter, varintBytes } from '../protobuf.js';

/** Field number, and for messages their fields. Lists and maps are taken whole. */
interface Shape {
  readonly [name: string]: number | readonly [number, Shape];
}

const ENDPOINT: Shape = { address: 1, port: 2 };
const USER: Shape = { id: 1, name: 2 };
const EXECUTABLE: Shape = { path: 1, name: 2, deleted: 3 };
/** backplane.v1.Event. */
const EVENT: Shape = {
  type: 1,
  time: 2,
  position: [3, { epoch: 1, time_ns: 2, lane: 3, tie: 4 }],
  process: [
    4,
    {
      pid: 1,
      parent_pid: 2,
      comm: 3,
      executable: [4, EXECUTABLE],
      command_args: 5,
      command_args_missed: 6,
      redactions: 7,
      working_directory: 8,
      user: [9, USER],
      creation_time: 10,
      cgroup: [11, { path: 1 }],
      thread_id: 12,
      previous_comm: 13,
      command_args_truncated: 14,
      parent: [15, { pid: 1, executable: [2, EXECUTABLE], command_args: 3, creation_time: 4 }],
      ancestors: 16,
      command_line: 17,
      exit_code: 18,
      exit_signal: 19,
      login_user: [20, USER],
      tty: 21,
      inferred: 22,
    },
  ],
  container: [5, { id: 1, name: 2, image: [3, { name: 1, tags: 2 }], unresolved: 4 }],
  network: [6, { type: 1, transport: 2, local: [3, ENDPOINT], peer: [4, ENDPOINT], failed: 5, datagrams: 6 }],
  signal: [7, { number: 1, name: 2, target_pid: 3, target_comm: 4, code: 5, result: 6 }],
  notice: [8, { reason: 1, message: 2, lost: 3, lost_unknown: 4, source: 5 }],
  raw: [9, { name: 1, fields: 2 }],
  syscall: [10, { id: 1, name: 2, args: 3, result: 4, returned: 5, command: 6, target_pid: 7 }],
  file: [
    11,
    {
      ...{ path: 1, path_missed: 2, descriptor: 3, flags: 4, mode: 5, new_path: 6, path_resolved: 7 },
      ...{ owner_id: 8, group_id: 9, size: 10, mount_namespace: 11 },
    },
  ],
  mount: [12, { source: 1, target: 2, type: 3, missed: 4 }],
  object: [13, { name: 1, name_missed: 2 }],
  dns: [16, { question: [1, { name: 1, type: 2 }], question_missed: 2, redactions: 3 }],
  app: [17, { id: 1, source: 2, subject: 3, time: 4, traceparent: 5, key: 6, body: 7 }],
  alert: [
    18,
    {
      ...{ id: 1, revision: 2, state: 3, rule_id: 4, rule_version: 5, title: 6, severity: 7, key: 8, nodes: 9 },
      ...{ first_seen: 10, last_seen: 11, occurrences: 12, details: 13 },
    },
  ],
  k8s: [20, { pod: [1, { name: 1, uid: 2 }], namespace: [2, { name: 1 }] }],
  audit: [19, { action: 1, identity: 2, peer: 3, outcome: 4, code: 5, message: 6, count: 7, details: 8 }],
};

/** Without these an event could be neither named nor ordered. */
const ALWAYS = ['type', 'time', 'position'];

/**
 * Fields that cost to find or to send, and come only where they are named: not with an event as a whole, nor with a
 * message that they are part of.
 */
export const NAMED_FIELDS: readonly string[] = [
  'process.ancestors',
  'process.command_line',
  'process.executable.deleted',
  'process.exit_code',
  'process.exit_signal',
  'process.login_user.id',
  'process.login_user.name',
  'process.parent.command_args',
  'process.parent.creation_time',
  'process.parent.executable.deleted',
  'process.tty',
  'process.user.name',
];
const NAMED: ReadonlySet<string> = new Set(NAMED_FIELDS);

/** What `process.inferred` may name, and what follows from that: without its mark such a value would pass for a fact. */
const MARKED: readonly string[] = [
  'process.working_directory',
  'process.user',
  'process.cgroup',
  'process.executable',
  'container',
  'k8s',
];
const MARK = 'process.inferred';

/** Every leaf of an event by its path in the proto; topic and node are fields of the batch. */
export const EVENT_FIELDS: readonly string[] = [...leavesOf(EVENT), 'topic', 'node'];

/** By field number: the mask of its fields, or 'whole' to keep all of it. */
export type FieldMask = ReadonlyMap<number, FieldMask | 'whole'>;

/** The paths, and behind them the mark of those that may be inferred. */
export function withMarks(paths: readonly string[]): readonly string[] {
  const mayBeInferred = (path: string) => MARKED.some((field) => path === field || path.startsWith(`${field}.`));
  return paths.some(mayBeInferred) && !paths.includes(MARK) ? [...paths, MARK] : paths;
}

/**
 * `paths` as in the proto, leaves or messages; unknown ones are ignored. Type, time and position are always kept, and
 * the mark of what may be inferred.
 */
export function compileFieldMask(paths: readonly string[]): FieldMask {
  const root = new Map<number, FieldMask | 'whole'>();
  for (const path of [...ALWAYS, ...withMarks(paths)]) keep(root, EVENT, path.split('.'));
  return root;
}

/** What an event has without any mask. */
export const USUAL_FIELDS: FieldMask = compileFieldMask(EVENT_FIELDS.filter((leaf) => !NAMED.has(leaf)));

/** Keeps only what the paths name: for values that are compared, not delivered. */
export function compileKeyMask(paths: readonly string[]): FieldMask {
  const root = new Map<number, FieldMask | 'whole'>();
  for (const path of paths) keep(root, EVENT, path.split('.'));
  return root;
}

/** Keeps every field that any of the masks keeps; undefined: the usual ones. */
export function unionOfMasks(masks: readonly (FieldMask | undefined)[]): FieldMask | undefined {
  let union: FieldMask | undefined;
  for (const mask of masks) {
    if (mask === undefined) continue;
    union = union === undefined || union === mask ? mask : merge(union, mask);
  }
  if (union === undefined || !masks.includes(undefined)) return union;
  return masks.some((mask) => mask !== undefined && namesMore(mask)) ? merge(USUAL_FIELDS, union) : undefined;
}

/** Asked of the same masks for every event. */
const namingMore = new WeakMap<FieldMask, boolean>();

/** Whether a mask keeps a field that comes only where it is named. */
export function namesMore(mask: FieldMask): boolean {
  let names = namingMore.get(mask);
  if (names === undefined) {
    names = keepsMore(mask, USUAL_FIELDS);
    namingMore.set(mask, names);
  }
  return names;
}

function keepsMore(mask: FieldMask, usual: FieldMask): boolean {
  for (const [number, inner] of mask) {
    const known = usual.get(number);
    if (known === undefined) return true;
    if (inner !== 'whole' && known !== 'whole' && keepsMore(inner, known)) return true;
  }
  return false;
}

/**
 * Cuts runs of events down to what the mask keeps. A message that becomes empty is left out. Throws invalid_argument
 * for bytes that are no such runs.
 */
export function cutRuns(runs: Buffer, mask: FieldMask): Buffer {
  const reader = new ProtoReader(runs, 'event');
  // The result is never longer than its source.
  const writer = new ProtoWriter(runs.length);
  while (reader.nextTag()) cutField(reader, mask, writer);
  return writer.finish();
}

function cutField(reader: ProtoReader, mask: FieldMask, writer: ProtoWriter): void {
  const { field } = reader;
  const chunk = reader.chunk();
  const start = writer.offset;
  writer.tag(field, LENGTH);
  const lengthAt = writer.offset;
  // The content is written behind room for the old length, and moved if its new length takes fewer bytes.
  writer.offset += varintBytes(chunk.length);
  const contentAt = writer.offset;
  cutMessage(chunk, mask, writer);
  const end = writer.offset;
  if (end === contentAt) {
    writer.offset = start;
    return;
  }
  writer.offset = lengthAt;
  writer.varint(end - contentAt);
  writer.bytes.copyWithin(writer.offset, contentAt, end);
  writer.offset += end - contentAt;
}

function cutMessage(message: Buffer, mask: FieldMask, writer: ProtoWriter): void {
  const reader = new ProtoReader(message, 'event');
  for (let start = 0; reader.nextTag(); start = reader.offset) {
    const kept = mask.get(reader.field);
    if (kept !== undefined && kept !== 'whole') {
      cutField(reader, kept, writer);
      continue;
    }
    reader.skip();
    if (kept === undefined) continue;
    writer.bytes.set(message.subarray(start, reader.offset), writer.offset);
    writer.offset += reader.offset - start;
  }
}

function keep(
  into: Map<number, FieldMask | 'whole'>,
  shape: Shape,
  [name = '', ...below]: readonly string[],
  above = '',
): void {
  const field = Object.hasOwn(shape, name) ? shape[name] : undefined;
  if (field === undefined) return;
  const [number, inner] = typeof field === 'number' ? [field, undefined] : field;
  if (inner === undefined) {
    into.set(number, 'whole');
    return;
  }
  const path = `${above}${name}.`;
  if (below.length === 0) {
    // What comes only where it is named is not named by the message that it is part of.
    const usual = leavesOf(inner).filter((leaf) => !NAMED.has(path + leaf));
    if (usual.length === leavesOf(inner).length) into.set(number, 'whole');
    else for (const leaf of usual) keep(into, shape, [name, ...leaf.split('.')], above);
    return;
  }
  const known = into.get(number);
  if (known === 'whole') return;
  const mask = new Map(known);
  keep(mask, inner, below, path);
  if (mask.size > 0) into.set(number, mask);
}

function merge(a: FieldMask, b: FieldMask): FieldMask {
  const merged = new Map(a);
  for (const [number, inner] of b) {
    const known = merged.get(number);
    if (known === undefined || inner === 'whole') merged.set(number, inner);
    else if (known !== 'whole') merged.set(number, merge(known, inner));
  }
  return merged;
}

function leavesOf(shape: Shape): string[] {
  return Object.entries(shape).flatMap(([name, field]) =>
    typeof field === 'number' ? [name] : leavesOf(field[1]).map((leaf) => `${name}.${leaf}`),
  );
}
