/**
 * The streams of what brokers agree on and of the audit, as `cluster init` makes them.
 *
 *   KV_BP_CLUSTER      what brokers tell each other and can tell again: claims, nodes, what holds for them
 *   BP_CLUSTER_state   what nobody could tell again: groups, join tokens, budgets; with the changes before
 *   BP_CLUSTER_audit   who asked for what
 *
 * A state that is full refuses changes; the audit gives its oldest.
 */
import {
  AUDIT_LOG_AGE_MS_DEFAULT,
  AUDIT_LOG_BYTES_DEFAULT,
  STATE_HISTORY,
  STATE_STREAM_BYTES_MAX,
} from '../../../limits.js';
import { NATS_NS_PER_MS, type StreamForm } from '../../nats/stream-form.js';
import { subjectToken } from './subject-token.js';

export interface StateStream {
  readonly stream: string;
  /** Of all its subjects. */
  readonly prefix: string;
}

export function sharedStream(cluster: string): StateStream {
  return { stream: `KV_BP_${cluster}`, prefix: `$KV.BP_${cluster}` };
}

export function keptStream(cluster: string): StateStream {
  return { stream: `BP_${cluster}_state`, prefix: `bp.${cluster}.state` };
}

/** The stream of the audit, and the subject of what a broker appends. */
export function auditStream(cluster: string, broker: string): { readonly stream: string; readonly subject: string } {
  return { stream: `BP_${cluster}_audit`, subject: `bp.${cluster}.audit.${subjectToken(broker)}` };
}

export function coordinationStreams(cluster: string, replicas: number): StreamForm[] {
  const common = {
    retention: 'limits' as const,
    storage: 'file' as const,
    num_replicas: replicas,
    deny_delete: true,
    // Answers of followers may be as of whenever.
    allow_direct: false,
  };
  const states = [
    { ...sharedStream(cluster), history: 1 },
    { ...keptStream(cluster), history: STATE_HISTORY },
  ].map(({ stream, prefix, history }) => ({
    ...{ ...common, name: stream, subjects: [`${prefix}.>`], discard: 'new' as const },
    ...{ max_msgs_per_subject: history, max_bytes: STATE_STREAM_BYTES_MAX },
  }));
  const audit = {
    ...{ ...common, name: `BP_${cluster}_audit`, subjects: [`bp.${cluster}.audit.*`], discard: 'old' as const },
    ...{ max_bytes: AUDIT_LOG_BYTES_DEFAULT, max_age: AUDIT_LOG_AGE_MS_DEFAULT * NATS_NS_PER_MS, deny_purge: true },
  };
  return [...states, audit];
}
