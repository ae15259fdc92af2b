/** The streams of a cluster's partition logs. */
import { PARTITIONS } from '../../../limits.js';
import { NATS_NS_PER_MS, type StreamForm } from '../../nats/stream-form.js';
import { PartitionSubjects, partitionStream } from './subjects.js';

export interface LogBounds {
  /** Over all partitions. */
  readonly bytesMax: number;
  readonly ageMsMax: number;
  readonly replicas: number;
}

/** @param bounds undefined where they may be any */
export function partitionForm(cluster: string, partition: number, bounds?: LogBounds): StreamForm {
  return {
    name: partitionStream(cluster, partition),
    subjects: [new PartitionSubjects(cluster, partition).all],
    retention: 'limits',
    storage: 'file',
    discard: 'old',
    max_msgs: -1,
    max_msgs_per_subject: -1,
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
    ...(bounds && {
      max_bytes: Math.floor(bounds.bytesMax / PARTITIONS),
      max_age: bounds.ageMsMax * NATS_NS_PER_MS,
      num_replicas: bounds.replicas,
    }),
  };
}

export function partitionForms(cluster: string, bounds?: LogBounds): StreamForm[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => partitionForm(cluster, partition, bounds));
}
