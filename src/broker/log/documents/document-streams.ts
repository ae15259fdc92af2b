/**
 * The streams of the logs of documents, BP_CLUSTER_app, BP_CLUSTER_alert and BP_CLUSTER_audit, and their subjects below
 * `bp.CLUSTER.LOG.`:
 *
 *   b.TOPIC   a batch; the body is that of a record (see document-batch.ts)
 *   c         a checkpoint (see document-checkpoint.ts)
 *
 * They have no ticks, which would push out the audit of a year: whether there was nothing to read, the leader is asked.
 */
import { DOCUMENT_LOGS, type DocumentLogName } from '../../../wire/event/document-topics.js';
import { subjectToken } from '../../cluster/nats/subject-token.js';
import { appendedForm, type StreamForm } from '../../nats/stream-form.js';
import { DOCUMENT_BOUNDS } from './document-logs.js';

export function documentStream(cluster: string, name: DocumentLogName): string {
  return `BP_${cluster}_${name}`;
}

export class DocumentSubjects {
  readonly all: string;
  readonly batches: string;
  readonly checkpoint: string;
  readonly #batch: string;

  constructor(cluster: string, name: DocumentLogName) {
    const prefix = `bp.${cluster}.${name}.`;
    this.all = `${prefix}>`;
    this.checkpoint = `${prefix}c`;
    this.#batch = `${prefix}b.`;
    this.batches = `${this.#batch}*`;
  }

  batch(topic: string): string {
    return `${this.#batch}${subjectToken(topic)}`;
  }

  isBatch(subject: string): boolean {
    return subject.startsWith(this.#batch);
  }
}

/** @param replicas undefined where bounds may be any */
export function documentForm(cluster: string, name: DocumentLogName, replicas?: number): StreamForm {
  const { all } = new DocumentSubjects(cluster, name);
  const { bytesMax, ageMsMax } = DOCUMENT_BOUNDS[name];
  const bounds = replicas === undefined ? undefined : { bytesMax, ageMsMax, replicas };
  return appendedForm(documentStream(cluster, name), all, bounds);
}

export function documentForms(cluster: string, replicas: number): StreamForm[] {
  return DOCUMENT_LOGS.map((name) => documentForm(cluster, name, replicas));
}
