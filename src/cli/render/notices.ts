/** Every item that is not an event, as one line for people: gaps, nodes, coverage, the link to the broker. */

import type { NodeStatus, SubscribeItem } from '../../client/subscribe-item.js';
import { timestampNs } from '../../subscriptions/timestamp.js';
import { shownList } from '../../text/shown.js';
import type { Accepted, Coverage, Gap__Output as Gap } from '../../wire/messages.js';
import type { NodeTimes } from './node-times.js';
import { agoText, dateTimeText, timeText } from './time.js';

type NodeCoverage = Coverage['nodes'][number];

/** Number of gone nodes that are named; the rest is counted. */
const GONE_NAMED_MAX = 4;

const STATES: Readonly<Record<NodeStatus['state'], string>> = {
  NODE_STATE_UNSPECIFIED: 'in an unknown state',
  NODE_STATE_CONNECTED: 'connected',
  NODE_STATE_GONE: 'gone',
  NODE_STATE_DEGRADED: 'sees less than it should',
};

const BEGINNINGS_NAMED_MAX = 8;

/** `gap node-a network: 412 events, 10:02:03–10:02:05, kernel_overrun`. */
export function gapNotice(gap: Gap, clock: NodeTimes, utc = false): string {
  const topics = gap.node === '' ? gap.topics.map(({ topic }) => topic) : [];
  const where = [gap.node, gap.topic, topics.join(', ')].filter((part) => part !== '').join(' ');
  const count = gap.eventsUnknown ? 'an unknown number of events' : counted(gap.events, 'event');
  const from = clock.wallNs(gap.node, gap.from);
  const to = clock.wallNs(gap.node, gap.to);
  const time = from === undefined ? '' : stretchText(from, gap.to === null ? 'open' : to, utc);
  return `gap ${where}: ${commas(count + ofTopics(gap), time, gap.reason, gap.message, ofSelectors(gap))}`;
}

function stretchText(fromNs: bigint, toNs: bigint | 'open' | undefined, utc: boolean): string {
  if (toNs === undefined) return '';
  const from = timeText(fromNs, utc);
  return toNs === 'open' ? `from ${from} on` : `${from}–${timeText(toNs, utc)}`;
}

function ofTopics({ topics }: Gap): string {
  const parts = topics.map(({ topic, events, eventsUnknown }) => `${topic} ${eventsUnknown ? 'unknown' : events}`);
  return parts.length > 0 ? ` (${parts.join(', ')})` : '';
}

function ofSelectors({ selectors }: Gap): string {
  const parts = selectors.map(
    ({ selector, events, eventsUnknown }) => `${selector} ${eventsUnknown ? 'unknown' : events}`,
  );
  return parts.length > 0 ? `of ${parts.join(', ')}` : '';
}

/** `node node-a: gone, connection lost`. */
export function nodeNotice(status: NodeStatus): string {
  return `node ${status.node}: ${commas(STATES[status.state], status.message)}`;
}

/** One line when nodes did not answer, else undefined. */
export function missingNotice(accepted: Accepted): string | undefined {
  if (accepted.nodesMissing.length === 0) return undefined;
  return `no answer from ${accepted.nodesMissing.join(', ')}: what ${accepted.nodesMissing.length === 1 ? 'it' : 'they'} recorded is missing here`;
}

/** One line per node; without `all` only of those that could not answer the whole window. */
export function coverageNotices(coverage: Coverage, all: boolean, utc = false): string[] {
  const gone = coverage.nodes.filter((node) => node.gone);
  const told = coverage.nodes.filter((node) => !node.gone && (all || isIncomplete(node)));
  const lines = told.map((node) => coverageNotice(node, utc));
  return gone.length === 0 ? lines : [...lines, goneNotice(gone, utc)];
}

/** One line for all gone nodes, because they stay listed for long, and nothing of them is missing. */
function goneNotice(nodes: readonly NodeCoverage[], utc: boolean): string {
  const named = nodes.map(({ node, lastSeen }) => {
    return lastSeen ? `${node} (last seen ${dateTimeText(timestampNs(lastSeen), utc)})` : node;
  });
  const what = nodes.length === 1 ? 'node was' : 'nodes were';
  return `${nodes.length} ${what} gone before the window began, nothing is missing: ${shownList(named, GONE_NAMED_MAX)}`;
}

/** A window's start or, where it has none, its end. */
export interface WindowBound {
  readonly verb: 'begins' | 'ends';
  readonly wallNs: bigint;
}

/** Undefined for a window without bounds. */
export function windowBound({ since, until }: Accepted): WindowBound | undefined {
  if (since) return { verb: 'begins', wallNs: timestampNs(since) };
  return until ? { verb: 'ends', wallNs: timestampNs(until) } : undefined;
}

/** One line for nodes whose recording begins later than that bound of the window; undefined for no nodes. */
export function beginningNotice(
  later: readonly { readonly node: string; readonly fromNs: bigint }[],
  { verb, wallNs }: WindowBound,
  utc = false,
): string | undefined {
  if (later.length === 0) return undefined;
  const named = later.map(
    ({ node, fromNs }) => `${node} from ${dateTimeText(fromNs, utc)} (${agoText(wallNs, fromNs)} later)`,
  );
  return `the window ${verb} ${dateTimeText(wallNs, utc)}, before the recording: ${shownList(named, BEGINNINGS_NAMED_MAX)}`;
}

export function linkNotice({ broker, cause, cluster }: Extract<SubscribeItem, { kind: 'link' }>): string {
  if (broker === '') {
    if (cause === undefined) return `cluster ${cluster} answers, going on where it broke off`;
    return `cluster ${cluster} is away, the others go on: ${cause.message}`;
  }
  const of = cluster === undefined ? '' : ` (cluster ${cluster})`;
  if (cause === undefined) return `connected to the broker at ${broker}${of}, going on where it broke off`;
  return `lost the broker at ${broker}${of}: ${cause.message}; trying again`;
}

function isIncomplete(node: NodeCoverage): boolean {
  const partial = node.source === 'procfs' || node.message !== '';
  const lost = node.lost !== '0' || node.lostUnknown || node.damagedBytes !== '0' || node.losses.length > 0;
  return node.absent || node.evicted || lost || partial;
}

function coverageNotice(node: NodeCoverage, utc: boolean): string {
  if (node.absent) return `coverage ${node.node}: ${commas('absent, nothing of it is here', node.message)}`;
  if (node.brokenOff)
    return `coverage ${node.node}: ${commas('broken off', counted(node.events, 'event'), node.message)}`;
  const from = node.from ? dateTimeText(timestampNs(node.from), utc) : 'unknown';
  const to = node.to ? dateTimeText(timestampNs(node.to), utc) : 'unknown';
  const lost = node.lostUnknown
    ? 'an unknown number of events lost by the kernel'
    : `${counted(node.lost, 'event')} lost by the kernel`;
  return `coverage ${node.node}: ${commas(
    `${from} to ${to}`,
    counted(node.events, 'event'),
    node.evicted ? 'older ones are no longer recorded' : '',
    node.lostUnknown || node.lost !== '0' ? lost : '',
    node.damagedBytes === '0' ? '' : `${node.damagedBytes} bytes of the recording are damaged`,
    ...node.losses.map(({ reason, message }) => `${reason}: ${message}`),
    node.source === 'procfs' ? 'seen by polling /proc: short-lived processes are missing' : '',
    node.message,
  )}`;
}

function counted(count: string, noun: string): string {
  return `${count} ${noun}${count === '1' ? '' : 's'}`;
}

function commas(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(', ');
}
