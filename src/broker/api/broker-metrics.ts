/** The metrics that a broker serves at /metrics. */
import type { Registry } from 'prom-client';
import { GROUPS_MEASURED_MAX, REDACTION_NAMES_MAX } from '../../limits.js';
import { createMetrics, type Reading } from '../../metrics.js';
import type { Gate } from '../access/gate.js';
import type { ServerTls } from '../access/tls/server-tls.js';
import type { Publisher } from '../app/publisher.js';
import type { RefusalDocuments } from '../cluster/audit-documents.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import type { Delays } from '../delays.js';
import type { LedgerTotals } from '../delivery/ledger-totals.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import type { Groups } from '../groups/groups.js';
import type { HeldFrames } from '../ingest/held-frames.js';
import type { Ingest } from '../ingest/ingest.js';
import type { DocumentLogs } from '../log/documents/document-logs.js';
import type { LogStore } from '../log/log-store.js';
import type { ClusterMember } from '../nodes/nats/cluster-member.js';
import type { NodeRegistry } from '../nodes/node-registry.js';

/** What the metrics are read from. */
export interface MetricSources {
  readonly registry: NodeRegistry;
  readonly subscriptions: Subscriptions;
  readonly ingest: Ingest;
  readonly store: LogStore;
  readonly held: HeldFrames;
  readonly totals: LedgerTotals;
  readonly gate: Gate;
  readonly trail: AuditTrail;
  readonly tls: ServerTls | undefined;
  readonly delays: Delays;
  readonly documents: DocumentLogs;
  readonly publisher: Publisher;
  readonly refusals: RefusalDocuments;
  readonly groups: Groups;
  readonly member: ClusterMember | undefined;
}

export function brokerMetrics(sources: MetricSources): Registry {
  const { registry, subscriptions, ingest, store, held, totals, gate, trail, tls, delays, groups } = sources;
  const { documents, publisher, refusals, member } = sources;
  const readings: Reading[] = [
    ...nodes(registry),
    { name: 'subscriptions', help: 'Subscriptions running.', type: 'gauge', read: () => subscriptions.size },
    {
      name: 'subscription_lag_frames_max',
      help: 'Frames that the slowest subscription is behind the end of the log.',
      type: 'gauge',
      read: () => greatestLag(subscriptions),
    },
    {
      name: 'auth_refused_total',
      help: 'Calls refused for want of one valid credential, by reason.',
      type: 'counter',
      label: 'reason',
      read: () => [...gate.refusals],
    },
    {
      name: 'audit_dropped_total',
      help: 'Entries that are not in the audit: they could not be written, or were refusals beyond their share of it.',
      type: 'counter',
      read: () => trail.dropped + refusals.dropped,
    },
    { name: 'log_bytes', help: 'Bytes in all partition logs.', type: 'gauge', read: () => store.bytes },
    {
      name: 'log_refusing',
      help: '1 while the log takes no frames (its disk is full or fails) and agents wait.',
      type: 'gauge',
      read: () => (held.trouble === undefined ? 0 : 1),
    },
    { name: 'held_frames', help: 'Frames that wait for the log to take them.', type: 'gauge', read: () => held.count },
    { name: 'held_bytes', help: 'Bytes of frames that wait for the log.', type: 'gauge', read: () => held.bytes },
    ...cluster(member),
    ...certificates(tls),
    ...ingestion(ingest),
    {
      name: 'redactions',
      help: 'Secrets that the agents connected have masked since they started, by rule.',
      type: 'gauge',
      label: 'rule',
      read: () => redactions(registry),
    },
    ...documentReadings(documents, publisher),
    {
      name: 'group_lag_events',
      help: 'Events in the log that a group has not committed, by group (the first 64) and slice.',
      type: 'gauge',
      label: ['group', 'slice'],
      read: () => groupLags(groups),
    },
    {
      name: 'group_lag_seconds',
      help: 'For how long the oldest event that a group has not committed is in the log, by group (the first 64).',
      type: 'gauge',
      label: 'group',
      read: () => measured(groups).map(({ group, lag }) => [group.name, secondsSince(lag.sinceMs)] as const),
    },
    ...ledger(totals),
  ];
  return createMetrics(readings, [delays.syncs, delays.deliveries]);
}

function cluster(member: ClusterMember | undefined): Reading[] {
  return [
    {
      name: 'cluster_brokers',
      help: 'Brokers of the cluster that are alive, this one too; 1 without a cluster.',
      type: 'gauge',
      read: () => member?.brokers().length ?? 1,
    },
    {
      name: 'cluster_cut_off',
      help: '1 while the broker reads nothing of NATS, and can acknowledge nothing.',
      type: 'gauge',
      read: () => (member?.trouble === undefined ? 0 : 1),
    },
  ];
}

function greatestLag(subscriptions: Subscriptions): number {
  let greatest = 0;
  for (const { lag } of subscriptions.all()) greatest = Math.max(greatest, lag);
  return greatest;
}

function nodes(registry: NodeRegistry): Reading[] {
  return [
    {
      name: 'nodes',
      help: 'Nodes by state: connected, degraded (connected, but sees less than it should), gone (listed until forgotten).',
      type: 'gauge',
      label: 'state',
      read: () => nodesByState(registry),
    },
    {
      name: 'node_events_total',
      help: 'Events that nodes recorded, lost in the kernel, matched and shed (over budget), as they reported.',
      type: 'counter',
      label: 'stage',
      read: () => Object.entries(registry.reportedEvents.totals),
    },
  ];
}

function nodesByState(registry: NodeRegistry): [string, number][] {
  let connected = 0;
  let degraded = 0;
  let gone = 0;
  for (const { connection, degraded: trouble } of registry.all()) {
    if (connection === undefined) gone++;
    else if (trouble === '') connected++;
    else degraded++;
  }
  return Object.entries({ connected, degraded, gone });
}

/** In the order of their names, so that the same groups are measured each time. */
function groupLags(groups: Groups): (readonly [labels: readonly string[], events: number])[] {
  return measured(groups).flatMap(({ group, lag }) =>
    Array.from(
      { length: group.slots.count },
      (_, slice) => [[group.name, String(slice)], lag.of(slice).events] as const,
    ),
  );
}

function measured(groups: Groups) {
  return groups.all().slice(0, GROUPS_MEASURED_MAX);
}

function secondsSince(sinceMs: number | undefined): number {
  return sinceMs === undefined ? 0 : Math.max(0, Date.now() - sinceMs) / 1000;
}

/** Of the ports under TLS; both show the same certificate. */
function certificates(tls: ServerTls | undefined): Reading[] {
  if (tls === undefined) return [];
  return [
    {
      name: 'certificate_expiry_timestamp_seconds',
      help: 'When the certificate in use ends, seconds since 1970, by listener.',
      type: 'gauge',
      label: 'listener',
      read: () => ['grpc', 'http'].map((listener) => [listener, tls.endsMs / 1000] as const),
    },
    {
      name: 'certificate_refused_connections_total',
      help: 'Connections closed because their certificate is foreign, has ended or has not begun.',
      type: 'counter',
      read: () => tls.refusals,
    },
  ];
}

/** What came from agents since the broker started. */
function ingestion(ingest: Ingest): Reading[] {
  const { totals: ingested, byTopic } = ingest;
  return [
    { name: 'ingested_frames_total', help: 'Frames taken in.', type: 'counter', read: () => ingested.frames },
    { name: 'ingested_bytes_total', help: 'Bytes of frames taken in.', type: 'counter', read: () => ingested.bytes },
    {
      name: 'ingested_events_total',
      help: 'Events taken in, by topic.',
      type: 'counter',
      label: 'topic',
      read: () => [...byTopic].map(([topic, { events }]) => [topic, events] as const),
    },
    {
      name: 'duplicate_frames_total',
      help: 'Frames dropped because the log had them already.',
      type: 'counter',
      read: () => ingested.duplicates,
    },
    {
      name: 'refused_frames_total',
      help: 'Frames that were not sound: refused, or taken as a gap whose count is not known.',
      type: 'counter',
      read: () => ingested.refused,
    },
  ];
}

/** What is born in the broker. */
function documentReadings(documents: DocumentLogs, publisher: Publisher): Reading[] {
  return [
    {
      name: 'document_log_bytes',
      help: 'Bytes in the logs of what applications publish, of alerts and of the audit.',
      type: 'gauge',
      label: 'log',
      read: () => documents.all().map(({ name, bytes }) => [name, bytes] as const),
    },
    {
      name: 'published_events_total',
      help: 'Events published and stored, by log.',
      type: 'counter',
      label: 'log',
      read: () => [...publisher.published],
    },
    {
      name: 'published_duplicates_total',
      help: 'Events published under an id that was known, acknowledged and not stored.',
      type: 'counter',
      read: () => publisher.duplicates,
    },
  ];
}

/** Delivery totals over all subscriptions. */
function ledger(totals: LedgerTotals): Reading[] {
  return [
    {
      name: 'ledger_events_total',
      help: 'Events of subscriptions: delivered, throttled, shed, skipped, and of the last two refilled since.',
      type: 'counter',
      label: ['stage', 'topic'],
      read: () => totals.byTopic(),
    },
    {
      name: 'subscriptions_shed_events',
      help: 'Matches that nodes shed, summed over subscriptions since the start, and not refilled (yet).',
      type: 'gauge',
      read: () => totals.sums.shed,
    },
    {
      name: 'subscriptions_skipped_events',
      help: 'Matches passed over for subscribers too far behind, since the start, and not refilled (yet).',
      type: 'gauge',
      read: () => totals.sums.skipped,
    },
  ];
}

/** Summed over nodes, by rule. Nodes choose the rule names, so their number and length are bounded here. */
function redactions(registry: NodeRegistry): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const { connection, report } of registry.all()) {
    if (connection === undefined) continue;
    for (const [name, count] of Object.entries(report?.redactions ?? {})) {
      const known = sums.has(name) || (sums.size < REDACTION_NAMES_MAX && /^[a-z0-9-]{1,48}$/.test(name));
      const label = known ? name : 'other';
      sums.set(label, (sums.get(label) ?? 0) + Number(count));
    }
  }
  return sums;
}
