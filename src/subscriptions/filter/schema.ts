/**
 * What a filter can name: OpenTelemetry's names for the fields of an event,
 * their types, and how each is read. An unset scalar reads as its zero value,
 * as in proto3; `present` is what has() answers.
 */
import type { BusEvent, UserContext } from '../../wire/event/event.js';

interface FieldOf<Type extends string, Value> {
  readonly name: string;
  readonly type: Type;
  readonly read: (event: BusEvent) => Value;
  readonly present: (event: BusEvent) => boolean;
  /** Of any JSON: read() fails where the event has no value of this type. */
  readonly dynamic?: true;
}

type BoolField = FieldOf<'bool', boolean>;
type StringField = FieldOf<'string', string>;
/** A safe integer, within plus and minus `bound`. */
type IntField = FieldOf<'int', number> & { readonly bound: number };
/** Any 64-bit integer: filters compute with it as with other integers, exactly. */
type WideIntField = FieldOf<'int', bigint> & { readonly wide: true };
/** Nanoseconds since 1970. */
type TimestampField = FieldOf<'timestamp', bigint>;
type ListField = FieldOf<'list(string)', readonly string[]>;
/** Of the node: not in the event, but known to whoever compiles the filter. */
type HostField = { readonly host: true } & (
  | { readonly name: 'host.name'; readonly type: 'string' }
  | { readonly name: 'host.labels'; readonly type: 'list(string)' }
);
export type Field = BoolField | StringField | IntField | WideIntField | TimestampField | ListField | HostField;

const NO_STRINGS: readonly string[] = [];
/** Kernel integers: signed or unsigned, 32 bits. */
const BITS_32 = 2 ** 32;

function text(name: string, get: (event: BusEvent) => string | undefined): StringField {
  return { name, type: 'string', read: (e) => get(e) ?? '', present: (e) => (get(e) ?? '') !== '' };
}

function flag(name: string, get: (event: BusEvent) => boolean | undefined): BoolField {
  return { name, type: 'bool', read: (e) => get(e) === true, present: (e) => get(e) === true };
}

function integer(name: string, get: (event: BusEvent) => number | undefined, bound = BITS_32): IntField {
  return { name, type: 'int', bound, read: (e) => get(e) ?? 0, present: (e) => (get(e) ?? 0) !== 0 };
}

function wide(name: string, get: (event: BusEvent) => bigint | undefined): WideIntField {
  return { name, type: 'int', wide: true, read: (e) => get(e) ?? 0n, present: (e) => (get(e) ?? 0n) !== 0n };
}

function list(name: string, get: (event: BusEvent) => readonly string[] | undefined): ListField {
  const read = (e: BusEvent) => get(e) ?? NO_STRINGS;
  return { name, type: 'list(string)', read, present: (e) => read(e).length > 0 };
}

/** Has presence of its own: 0 is a value, not "unknown". */
function counted(name: string, get: (event: BusEvent) => number | undefined): IntField {
  return { name, type: 'int', bound: BITS_32, read: (e) => get(e) ?? 0, present: (e) => get(e) !== undefined };
}

/** The same: user 0 is root. */
function userId(name: string, get: (event: BusEvent) => UserContext | undefined): IntField {
  return { name, type: 'int', bound: BITS_32, read: (e) => get(e)?.id ?? 0, present: (e) => get(e) !== undefined };
}

function moment(name: string, get: (event: BusEvent) => bigint | undefined): TimestampField {
  return { name, type: 'timestamp', read: (e) => get(e) ?? 0n, present: (e) => get(e) !== undefined };
}

const ALL: readonly Field[] = [
  text('event.type', (e) => e.type),
  text('event.topic', (e) => e.topic),
  { name: 'event.time', type: 'timestamp', read: (e) => e.wallNs, present: () => true },
  integer('process.pid', (e) => e.process?.pid),
  integer('process.parent_pid', (e) => e.process?.parentPid),
  text('process.comm', (e) => e.process?.comm),
  text('process.executable.path', (e) => e.process?.executable?.path),
  text('process.executable.name', (e) => e.process?.executable?.name),
  integer('process.parent.pid', (e) => e.process?.parent?.pid),
  text('process.parent.executable.path', (e) => e.process?.parent?.executable?.path),
  text('process.parent.executable.name', (e) => e.process?.parent?.executable?.name),
  flag('process.parent.executable.deleted', (e) => e.process?.parent?.executable?.deleted),
  list('process.parent.command_args', (e) => e.process?.parent?.commandArgs),
  moment('process.parent.creation_time', (e) => e.process?.parent?.creationTimeNs),
  list('process.ancestors', (e) => e.process?.ancestors),
  flag('process.executable.deleted', (e) => e.process?.executable?.deleted),
  list('process.command_args', (e) => e.process?.commandArgs),
  text('process.command_line', (e) => e.process?.commandArgs?.join(' ')),
  flag('process.command_args_missed', (e) => e.process?.commandArgsMissed),
  flag('process.command_args_truncated', (e) => e.process?.commandArgsTruncated),
  text('process.working_directory', (e) => e.process?.workingDirectory),
  userId('process.user.id', (e) => e.process?.user),
  text('process.user.name', (e) => e.process?.user?.name),
  moment('process.creation_time', (e) => e.process?.creationTimeNs),
  text('process.cgroup.path', (e) => e.process?.cgroup?.path),
  integer('process.thread_id', (e) => e.process?.threadId),
  text('process.previous_comm', (e) => e.process?.previousComm),
  counted('process.exit_code', (e) => e.process?.exitCode),
  text('process.exit_signal', (e) => e.process?.exitSignal),
  userId('process.login_user.id', (e) => e.process?.loginUser),
  text('process.login_user.name', (e) => e.process?.loginUser?.name),
  text('process.tty', (e) => e.process?.tty),
  list('process.inferred', (e) => e.process?.inferred),
  text('container.id', (e) => e.container?.id),
  flag('container.unresolved', (e) => e.container?.unresolved),
  text('container.name', (e) => e.container?.name),
  text('container.image.name', (e) => e.container?.image?.name),
  list('container.image.tags', (e) => e.container?.image?.tags),
  text('k8s.pod.name', (e) => e.k8s?.podName),
  text('k8s.pod.uid', (e) => e.k8s?.podUid),
  text('k8s.namespace.name', (e) => e.k8s?.namespaceName),
  { name: 'host.name', type: 'string', host: true },
  { name: 'host.labels', type: 'list(string)', host: true },
  text('network.type', (e) => e.network?.type),
  text('network.transport', (e) => e.network?.transport),
  text('network.local.address', (e) => e.network?.local.address),
  integer('network.local.port', (e) => e.network?.local.port),
  text('network.peer.address', (e) => e.network?.peer.address),
  integer('network.peer.port', (e) => e.network?.peer.port),
  flag('network.failed', (e) => e.network?.failed),
  integer('network.datagrams', (e) => e.network?.datagrams),
  text('dns.question.name', (e) => e.dns?.question?.name),
  text('dns.question.type', (e) => e.dns?.question?.type),
  flag('dns.question_missed', (e) => e.dns?.questionMissed),
  integer('signal.number', (e) => e.signal?.number),
  text('signal.name', (e) => e.signal?.name),
  integer('signal.target_pid', (e) => e.signal?.targetPid),
  text('signal.target_comm', (e) => e.signal?.targetComm),
  integer('signal.code', (e) => e.signal?.code),
  integer('signal.result', (e) => e.signal?.result),
  text('notice.reason', (e) => e.notice?.reason),
  text('notice.message', (e) => e.notice?.message),
  integer('notice.lost', (e) => e.notice?.lost, Number.MAX_SAFE_INTEGER),
  text('notice.source', (e) => e.notice?.source),
  wide('syscall.id', (e) => e.syscall?.id),
  text('syscall.name', (e) => e.syscall?.name),
  ...[0, 1, 2, 3, 4, 5].map((index) => wide(`syscall.arg${index}`, (e) => e.syscall?.args[index])),
  wide('syscall.result', (e) => e.syscall?.result),
  text('syscall.command', (e) => e.syscall?.command),
  integer('syscall.target_pid', (e) => e.syscall?.targetPid),
  text('file.path', (e) => e.file?.path),
  flag('file.path_missed', (e) => e.file?.pathMissed),
  flag('file.path_resolved', (e) => e.file?.pathResolved),
  text('file.new_path', (e) => e.file?.newPath),
  integer('file.descriptor', (e) => e.file?.descriptor),
  integer('file.flags', (e) => e.file?.flags),
  integer('file.mode', (e) => e.file?.mode),
  text('mount.source', (e) => e.mount?.source),
  text('mount.target', (e) => e.mount?.target),
  text('mount.type', (e) => e.mount?.type),
  flag('mount.missed', (e) => e.mount?.missed),
  text('object.name', (e) => e.object?.name),
  flag('object.name_missed', (e) => e.object?.nameMissed),
  counted('file.owner_id', (e) => e.file?.ownerId),
  counted('file.group_id', (e) => e.file?.groupId),
  { ...wide('file.size', (e) => e.file?.size), present: (e) => e.file?.size !== undefined },
  integer('file.mount_namespace', (e) => e.file?.mountNamespace),
  text('app.id', (e) => e.app?.id),
  text('app.type', (e) => (e.app === undefined ? '' : e.type)),
  text('app.source', (e) => e.app?.source),
  text('app.subject', (e) => e.app?.subject),
  moment('app.time', (e) => e.app?.timeNs),
  text('app.traceparent', (e) => e.app?.traceparent),
  text('app.key', (e) => e.app?.key),
  text('alert.id', (e) => e.alert?.id),
  integer('alert.revision', (e) => e.alert?.revision),
  text('alert.state', (e) => e.alert?.state),
  text('alert.rule_id', (e) => e.alert?.ruleId),
  text('alert.rule_version', (e) => e.alert?.ruleVersion),
  text('alert.title', (e) => e.alert?.title),
  integer('alert.severity', (e) => e.alert?.severity),
  text('alert.key', (e) => e.alert?.key),
  list('alert.nodes', (e) => e.alert?.nodes),
  moment('alert.first_seen', (e) => e.alert?.firstSeenNs),
  moment('alert.last_seen', (e) => e.alert?.lastSeenNs),
  integer('alert.occurrences', (e) => e.alert?.occurrences, Number.MAX_SAFE_INTEGER),
  text('audit.action', (e) => e.audit?.action),
  text('audit.identity', (e) => e.audit?.identity),
  text('audit.peer', (e) => e.audit?.peer),
  text('audit.outcome', (e) => e.audit?.outcome),
  text('audit.code', (e) => e.audit?.code),
  text('audit.message', (e) => e.audit?.message),
  integer('audit.count', (e) => e.audit?.count),
];

/** By full name. A Map, so that `__proto__` and its like are unknown names and no more. */
export const FIELDS: ReadonlyMap<string, Field> = new Map(ALL.map((field) => [field.name, field]));

/** Names of messages that can be asked for with has(), as far as they can be absent. */
export const GROUPS: ReadonlyMap<string, (event: BusEvent) => boolean> = new Map([
  ['process.executable', (e: BusEvent) => e.process?.executable !== undefined],
  ['process.parent', (e: BusEvent) => e.process?.parent !== undefined],
  ['process.parent.executable', (e: BusEvent) => e.process?.parent?.executable !== undefined],
  ['process.user', (e: BusEvent) => e.process?.user !== undefined],
  ['process.login_user', (e: BusEvent) => e.process?.loginUser !== undefined],
  ['process.cgroup', (e: BusEvent) => e.process?.cgroup !== undefined],
  ['container.image', (e: BusEvent) => e.container?.image !== undefined],
  ['k8s.pod', (e: BusEvent) => e.k8s !== undefined],
  ['k8s.namespace', (e: BusEvent) => e.k8s !== undefined],
  ['network.local', (e: BusEvent) => e.network !== undefined],
  ['network.peer', (e: BusEvent) => e.network !== undefined],
  ['dns.question', (e: BusEvent) => e.dns?.question !== undefined],
]);

/** First parts of field names: `process`, `network`, ... */
export const ROOTS: ReadonlySet<string> = new Set(ALL.map((field) => field.name.slice(0, field.name.indexOf('.'))));
