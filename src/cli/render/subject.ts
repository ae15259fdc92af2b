/** An event's content in one line of safe text: the part after time, node and type. */
import { getSystemErrorName } from 'node:util';
import { SHOWN_ARGUMENTS_CHARACTERS_MAX } from '../../limits.js';
import { valueToJson } from '../../wire/event/event-json.js';
import type { EventMessage } from '../../wire/messages.js';
import { type Palette, PLAIN } from './palette.js';
import type { ProcessNames } from './process-names.js';
import { argumentsText, fileFlagsText } from './syscall-arguments.js';
import { jsonText, safeText, shellWord, shellWords } from './text.js';

type WireProcess = NonNullable<EventMessage['process']>;
type WireSyscall = NonNullable<EventMessage['syscall']>;
type WireFile = NonNullable<EventMessage['file']>;
type WireEndpoint = NonNullable<NonNullable<EventMessage['network']>['local']>;

/** Kernel errors end here; higher numbers are Node.js's own. */
const ERRNO_MAX = 1000;
/** include/uapi/linux/fcntl.h: the path starts from the working directory. */
const AT_FDCWD = -100;

export interface SubjectOptions {
  readonly palette?: Palette;
  readonly names?: ProcessNames;
}

/** For example `root /usr/bin/curl curl -s https://example.org pid 123 ← bash 100`. */
export function subjectText(node: string, event: EventMessage, options: SubjectOptions = {}): string {
  const { palette = PLAIN, names } = options;
  const { process } = event;
  if (event.network) return networkText(event, palette);
  if (event.signal) return signalText(event, palette);
  if (event.notice) return noticeText(event);
  if (event.raw) return rawText(event, palette);
  if (event.syscall) return join(syscallText(event, palette), taskText(process), containerText(event, palette));
  if (event.file) return join(fileText(event, palette), taskText(process), containerText(event, palette));
  if (!process) return '';
  return join(
    userText(process),
    actionText(event.type, process, palette),
    palette.dim(lineage(node, process, names)),
    containerText(event, palette),
  );
}

/** `root`, or the number: other user names are known only on the node. */
export function userText(process: WireProcess): string {
  const id = process.user?.id;
  if (id === undefined) return '?';
  return id === 0 ? 'root' : String(id);
}

/** `10.0.0.1:443` or `[::1]:443`. */
function endpointText(endpoint: WireEndpoint | null | undefined): string {
  if (!endpoint) return '?';
  const address = safeText(endpoint.address);
  return `${address.includes(':') ? `[${address}]` : address || '?'}:${endpoint.port || '?'}`;
}

function actionText(type: string, process: WireProcess, palette: Palette): string {
  if (type === 'process.exec') return execText(process, palette);
  if (type === 'process.rename') return `${shellWord(process.previousComm)} → ${palette.bold(shellWord(process.comm))}`;
  return shellWord(process.comm);
}

function execText(process: WireProcess, palette: Palette): string {
  const path = process.executable?.path || process.comm;
  const words = process.commandArgsMissed
    ? palette.dim('(arguments missed)')
    : shellWords(process.commandArgs, SHOWN_ARGUMENTS_CHARACTERS_MAX);
  const redactions = process.redactions > 0 ? palette.dim(`(${process.redactions} redacted)`) : '';
  const truncated = process.commandArgsTruncated ? palette.dim('…') : '';
  return join(palette.bold(shellWord(path)), words, truncated, redactions);
}

function lineage(node: string, process: WireProcess, names: ProcessNames | undefined): string {
  const thread = process.threadId !== 0 && process.threadId !== process.pid ? ` thread ${process.threadId}` : '';
  const own = `pid ${process.pid}${thread}`;
  if (process.parentPid === 0) return own;
  const parent = names?.get(node, process.parentPid);
  return `${own} ← ${parent === undefined ? '' : `${shellWord(parent)} `}${process.parentPid}`;
}

function networkText(event: EventMessage, palette: Palette): string {
  // Connections that change state in interrupt context may have no known process.
  const owner = event.process ? taskText(event.process) : '';
  return join(connectionText(event, palette), owner, containerText(event, palette));
}

/** `AAAA example.org`; empty where the event is no question. */
function questionText({ dns }: EventMessage, palette: Palette): string {
  if (!dns) return '';
  if (!dns.question) return palette.dim('(question missed)');
  const redactions = dns.redactions > 0 ? palette.dim(`(${dns.redactions} redacted)`) : '';
  return join(safeText(dns.question.type), palette.bold(shellWord(dns.question.name)), redactions);
}

/** Endpoints, with an arrow from the caller to the callee: `10.0.0.1:443 ← 10.0.0.2:5555`; first what was asked. */
export function connectionText(event: EventMessage, palette: Palette = PLAIN): string {
  return join(questionText(event, palette), endpointsText(event, palette));
}

function endpointsText(event: EventMessage, palette: Palette): string {
  const local = endpointText(event.network?.local);
  const peer = endpointText(event.network?.peer);
  if (event.type.endsWith('.listen')) return palette.bold(local);
  if (event.type.endsWith('.connect'))
    return `${palette.bold(peer)} ← ${local}${event.network?.failed ? ' failed' : ''}`;
  if (event.type.endsWith('.accept')) return `${palette.bold(local)} ← ${peer}`;
  if (event.type === 'network.dns.query') return `${peer} ← ${local}`;
  if (event.type === 'network.udp.send') {
    const datagrams = event.network?.datagrams ?? 0;
    return join(`${palette.bold(peer)} ← ${local}`, datagrams > 1 ? `${datagrams} datagrams` : '');
  }
  return `${local} – ${peer}`;
}

const SIGNAL_RESULTS: Readonly<Record<number, string>> = {
  1: '(ignored)',
  2: '(already pending)',
  3: '(lost)',
  4: '(lost)',
};

function signalText(event: EventMessage, palette: Palette): string {
  const { signal } = event;
  if (!signal) return '';
  const name = safeText(signal.name) || `signal ${signal.number}`;
  const target = `${signal.targetComm ? shellWord(signal.targetComm) : '?'}[${signal.targetPid}]`;
  const result = SIGNAL_RESULTS[signal.result] ?? '';
  return join(palette.bold(name), `${taskText(event.process)} → ${target}`, result, containerText(event, palette));
}

function noticeText(event: EventMessage): string {
  const { notice } = event;
  if (!notice) return '';
  const lost = notice.lostUnknown
    ? 'an unknown number of events lost'
    : notice.lost !== '0'
      ? `${notice.lost} events lost`
      : '';
  const source = notice.source === '' ? '' : `(${safeText(notice.source)})`;
  return join(safeText(notice.reason), safeText(notice.message), lost, source);
}

function rawText(event: EventMessage, palette: Palette): string {
  const { raw } = event;
  if (!raw) return '';
  const fields = Object.entries(raw.fields).map(([name, value]) => `${safeText(name)}=${shellWord(value)}`);
  return join(palette.bold(safeText(raw.name)), fields.join(' '), taskText(event.process));
}

/** Which argument of a call has a part of `mount`, or an object's name. */
const NAMED_ARGUMENTS: ReadonlyMap<string, ReadonlyMap<string, number>> = new Map(
  Object.entries({
    mount: new Map([
      ['source', 0],
      ['target', 1],
      ['type', 2],
    ]),
    umount2: new Map([['target', 0]]),
    fsopen: new Map([['type', 0]]),
    move_mount: new Map([['target', 3]]),
    memfd_create: new Map([['name', 0]]),
  }),
);
const NO_ARGUMENTS: ReadonlyMap<string, number> = new Map();

/**
 * `kill(123, SIGKILL)`, or `read = 512` when it returned; one that is told with both and with what it named:
 * `fsconfig(3, FSCONFIG_CMD_CREATE, NULL, NULL, 0) = 0 source /dev/sda1 type ext4`.
 */
function syscallText({ syscall, mount, object }: EventMessage, palette: Palette): string {
  const { id, name, args, result, returned } = syscall as WireSyscall;
  const call = palette.bold(safeText(name) || `syscall ${id}`);
  const named = Object.entries({ ...texts(mount, ['source', 'target', 'type']), ...texts(object, ['name']) });
  const places = args.length === 0 ? NO_ARGUMENTS : (NAMED_ARGUMENTS.get(name) ?? NO_ARGUMENTS);
  const within = new Map(named.flatMap(([part, text]) => (places.has(part) ? [[places.get(part)!, text]] : [])));
  const besides = named.filter(([part]) => !places.has(part)).flat();
  const given = returned && args.length === 0 ? '' : `(${argumentsText(name, BigInt(id), args.map(BigInt), within)})`;
  return join(`${call}${given}`, returned ? `= ${resultText(result)}` : '', ...besides);
}

/** Those of some fields that have a text, as it is shown. */
function texts(part: object | null | undefined, fields: readonly string[]): Record<string, string> {
  const values = (part ?? {}) as Readonly<Record<string, string>>;
  return Object.fromEntries(fields.flatMap((field) => (values[field] ? [[field, shellWord(values[field])]] : [])));
}

function resultText(result: string): string {
  return `${result} ${errorName(Number(result))}`.trimEnd();
}

function fileText({ type, file }: EventMessage, palette: Palette): string {
  const { path, newPath, descriptor, flags, mode, ownerId, groupId, size, mountNamespace } = file as WireFile;
  const named = (text: string) => palette.bold(shellWord(text));
  if (type === 'file.open' && descriptor < 0) return join(path === '' ? '' : named(path), errorText(descriptor));
  const first = path === '' ? palette.dim('(path unknown)') : named(path);
  if (type === 'file.open')
    return join(`${first} as ${descriptor}`, flags === '0' ? '' : fileFlagsText(type, BigInt(flags)));
  const there = mountNamespace > 0 ? `in mount namespace ${mountNamespace}` : '';
  const where = join(newPath === '' ? first : `${first} → ${named(newPath)}`, there);
  const from = descriptor === AT_FDCWD ? '' : `from descriptor ${descriptor}`;
  const flagsText = flags === '0' ? '' : `flags ${fileFlagsText(type, BigInt(flags))}`;
  if (type === 'file.chown') return join(where, from, ownerText(ownerId, groupId), flagsText);
  if (type === 'file.truncate') return join(where, size === undefined ? '' : `to ${size} bytes`);
  return join(where, from, modeText(type, BigInt(mode)), flagsText);
}

/** Of a chmod also 0: nobody may do anything. */
function modeText(type: string, mode: bigint): string {
  if (mode === 0n) return type === 'file.chmod' ? 'mode 0' : '';
  return `mode 0${mode.toString(8)}`;
}

/** -1 leaves one as it is. */
function ownerText(ownerId = '-1', groupId = '-1'): string {
  return join(ownerId === '-1' ? '' : `owner ${ownerId}`, groupId === '-1' ? '' : `group ${groupId}`);
}

function errorText(result: number): string {
  return `failed: ${errorName(result) || `error ${-result}`}`;
}

/** Empty for a number without a name. */
function errorName(result: number): string {
  if (result >= 0 || result < -ERRNO_MAX) return '';
  const name = getSystemErrorName(result);
  return /^E[A-Z0-9]+$/.test(name) ? name : '';
}

function taskText(process: WireProcess | null | undefined): string {
  return process ? `${process.comm ? shellWord(process.comm) : '?'}[${process.pid}]` : '?';
}

function containerText(event: EventMessage, palette: Palette): string {
  const id = event.container?.id ?? '';
  if (id === '') return '';
  const { name, unresolved } = event.container!;
  const { namespace, pod } = event.k8s ?? {};
  // One without a name holds the pod's namespaces.
  const names = [namespace?.name, pod?.name, name].filter((part) => part).join('/');
  return palette.dim(`in ${safeText(names || id.slice(0, 12))}${unresolved ? ' (not resolved)' : ''}`);
}

function join(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(' ');
}

/** Of an event that is born in the broker: the part after time, publisher and topic. Undefined for the kernel's. */
export function documentText(topic: string, event: EventMessage, palette: Palette = PLAIN): string | undefined {
  if (event.alert) return alertText(event.alert, palette);
  if (event.audit) return auditText(event.audit, palette);
  if (!event.app) return undefined;
  const { subject, body } = event.app;
  const type = event.type === topic ? '' : palette.bold(safeText(event.type));
  return join(type, safeText(subject), bodyText(body));
}

function alertText(alert: NonNullable<EventMessage['alert']>, palette: Palette): string {
  const { state, severity, title, ruleId, nodes, occurrences, details } = alert;
  const severe = severity === 0 ? '' : `severity ${severity}`;
  const where = nodes.length === 0 ? '' : `on ${safeText(nodes.join(', '))}`;
  const often = Number(occurrences) > 1 ? `${occurrences} times` : '';
  const rule = ruleId === '' ? '' : palette.dim(`rule ${safeText(ruleId)}`);
  return join(safeText(state), severe, palette.bold(safeText(title)), where, often, rule, bodyText(details));
}

function auditText(audit: NonNullable<EventMessage['audit']>, palette: Palette): string {
  const { action, identity, peer, outcome, code, message, count, details } = audit;
  const who = join(safeText(identity), palette.dim(safeText(peer)));
  const refused = outcome === 'refused' ? `refused: ${safeText(code)}${count > 1 ? ` (${count} times)` : ''}` : '';
  return join(palette.bold(safeText(action)), 'by', who, refused, safeText(message), bodyText(details));
}

function bodyText(body: Parameters<typeof valueToJson>[0] | null | undefined): string {
  if (!body) return '';
  // JSON has its line breaks escaped; the rest is made safe as all text is.
  const text = safeText(jsonText(valueToJson(body), true));
  return text.length <= SHOWN_ARGUMENTS_CHARACTERS_MAX ? text : `${text.slice(0, SHOWN_ARGUMENTS_CHARACTERS_MAX)}…`;
}
