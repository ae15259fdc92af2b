/**
 * Checkpoints of a partition: how far the frames of all nodes reach before a sequence, so that a broker that starts, or a
 * cursor, reads some megabytes instead of the whole log. A checkpoint is some messages in a row on one subject:
 *
 *   Bp-Before := the sequence that it is about     Bp-Part := part "/" parts     Bp-Last := topic "=" sequence, by commas
 *   body      := covered positions of some nodes (see log-record.ts)
 *
 * Whichever broker is first writes it: each part wants to be the last message of its subject.
 */
import type { MsgHdrs } from 'nats';
import { LOG_CHECKPOINT_NODES_MAX } from '../../../limits.js';
import type { ReceivedHeaders } from '../../nats/header-text.js';
import { headers } from '../../nats/nats-library.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { storedMessage } from '../../nats/stream-leader.js';
import { CoveredPositions } from '../covered-positions.js';
import { decodeCheckpoint, encodeCheckpoint } from '../embedded/log-record.js';

const [BEFORE, PART, LAST] = ['Bp-Before', 'Bp-Part', 'Bp-Last'];

export interface CheckpointPart {
  readonly headers: MsgHdrs;
  readonly body: Buffer;
}

/** What a partition holds before a sequence. */
export interface Standing {
  readonly before: number;
  readonly covered: CoveredPositions;
  /** By topic, the sequence of its last frame. */
  readonly lastOf: ReadonlyMap<string, number>;
}

export function checkpointParts({ before, covered, lastOf }: Standing): readonly CheckpointPart[] {
  const parts: CoveredPositions[] = [];
  let nodes = 0;
  for (const [node, byTopic] of covered.entries()) {
    if (nodes++ % LOG_CHECKPOINT_NODES_MAX === 0) parts.push(new CoveredPositions());
    for (const [topic, to] of byTopic) parts.at(-1)!.set(node, topic, to);
  }
  if (parts.length === 0) parts.push(new CoveredPositions());
  const last = [...lastOf].map(([topic, sequence]) => `${topic}=${sequence}`).join(',');
  return parts.map((part, at) => {
    const written = headers();
    written.set(BEFORE, String(before));
    written.set(PART, `${at + 1}/${parts.length}`);
    if (last !== '') written.set(LAST, last);
    return { headers: written, body: encodeCheckpoint(part) };
  });
}

/** Where a whole checkpoint lies: the sequences of its parts, in order. */
export interface CheckpointPlace {
  readonly before: number;
  readonly sequences: readonly number[];
}

/** Recognises whole checkpoints from the headers of their parts, which come in the order of the stream. */
export class CheckpointIndex {
  #places: CheckpointPlace[] = [];
  #parts: number[] = [];
  #before = 0;

  take(sequence: number, received: ReceivedHeaders | undefined): void {
    const before = Number(received?.get(BEFORE));
    const [, part, parts] = /^(\d{1,4})\/(\d{1,4})$/.exec(received?.get(PART) ?? '') ?? [];
    // What no broker writes, such as one about what comes behind it, would hide all that follow.
    if (!Number.isSafeInteger(before) || before < 1 || before > sequence || parts === undefined) return;
    if (part === '1') this.#parts = [];
    else if (before !== this.#before || this.#parts.length !== Number(part) - 1) return;
    this.#before = before;
    this.#parts.push(sequence);
    const newest = this.#places.at(-1);
    if (part === parts && before > (newest?.before ?? 0)) this.#places.push({ before, sequences: this.#parts });
  }

  /** The last one that is about a sequence not after this one. */
  upTo(sequence: number): CheckpointPlace | undefined {
    return this.#places.findLast(({ before }) => before <= sequence);
  }

  get newest(): CheckpointPlace | undefined {
    return this.#places.at(-1);
  }

  get oldest(): CheckpointPlace | undefined {
    return this.#places[0];
  }

  /** Forgets those that are about what is before the first sequence: what follows on them is not all there. */
  forget(firstSequence: number): void {
    while (this.#places[0] !== undefined && this.#places[0].before < firstSequence) this.#places.shift();
  }

  /** Forgets all from a sequence on. */
  cut(end: number): void {
    this.#places = this.#places.filter(({ sequences }) => sequences.at(-1)! < end);
    this.#parts = [];
  }
}

/**
 * Writes it into the stream. Resolves with the sequence of its last part, also where another broker was first. Rejects where
 * NATS does not take it.
 */
export async function writeCheckpoint(
  { client, manager }: NatsLink,
  stream: string,
  subject: string,
  standing: Standing,
): Promise<number> {
  const parts = checkpointParts(standing);
  let last = (await storedMessage(manager, stream, { last_by_subj: subject }))?.seq ?? 0;
  if (last >= standing.before) return last;
  for (const { headers, body } of parts) {
    const expect = { lastSubjectSequence: last, streamName: stream };
    last = (await client.publish(subject, body, { headers, expect })).seq;
  }
  return last;
}

/**
 * What the newest checkpoint up to a sequence says that can be read; where there is none, nothing is known before the
 * stream's first sequence. Rejects with unavailable where NATS does not answer.
 */
export async function standingAt(
  link: NatsLink,
  stream: string,
  checkpoints: CheckpointIndex,
  sequence: number,
  first: number,
): Promise<Standing> {
  for (let place = checkpoints.upTo(sequence); place !== undefined; place = checkpoints.upTo(place.before - 1)) {
    const standing = await readCheckpoint(link, stream, place);
    if (standing !== undefined) return standing;
  }
  return { before: Math.max(1, first), covered: new CoveredPositions(), lastOf: new Map() };
}

/** Undefined where a part of it is gone, or is damaged. */
async function readCheckpoint(
  link: NatsLink,
  stream: string,
  { before, sequences }: CheckpointPlace,
): Promise<Standing | undefined> {
  const standing = { covered: new CoveredPositions(), lastOf: new Map<string, number>() };
  for (const seq of sequences) {
    const part = await storedMessage(link.manager, stream, { seq });
    if (part === null || !readCheckpointPart(part, standing)) return undefined;
  }
  return { before, ...standing };
}

/** Reads one part into what is known; false where it is none. */
export function readCheckpointPart(
  { header, data }: { readonly header: MsgHdrs; readonly data: Uint8Array },
  into: { readonly covered: CoveredPositions; readonly lastOf: Map<string, number> },
): boolean {
  try {
    decodeCheckpoint(Buffer.from(data), into.covered);
  } catch {
    return false;
  }
  for (const entry of header.get(LAST).split(',')) {
    const [topic, sequence] = entry.split('=');
    if (topic && sequence) into.lastOf.set(topic, Number(sequence));
  }
  return true;
}
