/**
 * The streams of what brokers agree on, as `cluster init` makes them.
 *
 *   KV_BP_CLUSTER      what brokers tell each other and can tell again: claims, nodes, what holds for them
 *   BP_CLUSTER_state   what nobody could tell again: groups, join tokens, budgets; with the changes before
 *
 * A state that is full refuses changes.
 */
import { STATE_HISTORY, STATE_STREAM_BYTES_MAX } from '../../../limits.js';
import type { StreamForm } from '../../nats/stream-form.js';

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

export function coordinationStreams(cluster: string, replicas: number): StreamForm[] {
  const common = {
    retention: 'limits' as const,
    storage: 'file' as const,
    num_replicas: replicas,
    deny_delete: true,
    // Answers of followers may be as of whenever.
    allow_direct: false,
  };
  return [
    { ...sharedStream(cluster), history: 1 },
    { ...keptStream(cluster), history: STATE_HISTORY },
  ].map(({ stream, prefix, history }) => ({
    ...{ ...common, name: stream, subjects: [`${prefix}.>`], discard: 'new' as const },
    ...{ max_msgs_per_subject: history, max_bytes: STATE_STREAM_BYTES_MAX },
  }));
}
