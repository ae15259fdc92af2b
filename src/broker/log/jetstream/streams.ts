/** The streams of a cluster's partition logs. */
import { PARTITIONS } from '../../../limits.js';
import { type AppendedBounds, appendedForm, type StreamForm } from '../../nats/stream-form.js';
import { PartitionSubjects, partitionStream } from './subjects.js';

/** Of all partitions together. */
export type LogBounds = AppendedBounds;

/** @param bounds undefined where they may be any */
export function partitionForm(cluster: string, partition: number, bounds?: LogBounds): StreamForm {
  const { all } = new PartitionSubjects(cluster, partition);
  const own = bounds && { ...bounds, bytesMax: Math.floor(bounds.bytesMax / PARTITIONS) };
  return appendedForm(partitionStream(cluster, partition), all, own);
}

export function partitionForms(cluster: string, bounds?: LogBounds): StreamForm[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => partitionForm(cluster, partition, bounds));
}
