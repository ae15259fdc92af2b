/**
 * Makes batches from frames without decoding an event: the agent has marked which events match, and the elements of
 * `EventBatch.events` concatenate.
 *
 *   SubscribeResponse := events EventBatch 2
 *   EventBatch        := node 1 | topic 2 | history bool 3 | cursor 4 | events Event 5 * | refill bool 6 | slice 10
 */

import { LENGTH, ProtoWriter } from '../protobuf.js';
import type { EventColumns } from './frame-columns.js';
import type { Match } from './match.js';

/** Some events of one frame, in order. */
export interface Selection {
  /** Views of the frame's events; each is one or more whole elements. */
  readonly parts: readonly Buffer[];
  readonly count: number;
  /** Events that `admit` refused. */
  readonly refused: number;
  /** Bytes of the parts together. */
  readonly bytes: number;
  /** Index after the last event that was selected or refused; equal to `from` when none was. */
  readonly next: number;
  /** They may have fields that come only where they are named. */
  readonly namedFields?: boolean;
}

/**
 * The events with index in [from, to) that match, at most `countMax` of them. Neighbours become one part, so that a
 * frame whose events all match is one view. `admit` is shown each event, as a whole element, and may refuse it.
 */
export function selectEvents(
  columns: EventColumns,
  match: Pick<Match, 'all' | 'indices'>,
  from: number,
  to: number,
  countMax: number,
  admit?: (element: Buffer) => boolean,
): Selection {
  const parts: Buffer[] = [];
  const { eventSizes, events } = columns;
  let count = 0;
  let refused = 0;
  let bytes = 0;
  let next = from;
  let offset = 0;
  let partStart = 0;
  let partEnd = -1;
  let walked = 0;
  const take = (index: number): void => {
    while (walked < index) offset += eventSizes[walked++]!;
    const end = offset + eventSizes[index]!;
    next = index + 1;
    if (admit?.(events.subarray(offset, end)) === false) {
      refused++;
      return;
    }
    if (partEnd !== offset) {
      if (partEnd >= 0) parts.push(events.subarray(partStart, partEnd));
      partStart = offset;
    }
    partEnd = end;
    bytes += end - offset;
    count++;
  };
  if (match.all) {
    for (let index = from; index < to && count < countMax; index++) take(index);
  } else {
    for (const index of match.indices) {
      if (index < from) continue;
      if (index >= to || count >= countMax) break;
      take(index);
    }
  }
  if (partEnd >= 0) parts.push(events.subarray(partStart, partEnd));
  return { parts, count, refused, bytes, next };
}

/** Every event in [from, to). */
export function sliceEvents(columns: EventColumns, from: number, to: number): Selection {
  return selectEvents(columns, { all: true, indices: [] }, from, to, to - from);
}

export interface BatchHeader {
  readonly node: string;
  readonly topic: string;
  readonly history: boolean;
  readonly cursor: string;
  /** These events were stated as a gap before. */
  readonly refill?: boolean;
  /** For a member of a group. */
  readonly slice?: number;
}

/** A whole SubscribeResponse, encoded. */
export function encodeEventBatch(header: BatchHeader, parts: readonly Buffer[]): Buffer {
  let eventBytes = 0;
  for (const part of parts) eventBytes += part.length;
  const writer = new ProtoWriter(
    Buffer.byteLength(header.node) + header.topic.length + header.cursor.length + eventBytes + 48,
  );
  // The batch is written behind room for the longest prefix; then the prefix is written directly in front of it.
  const start = 8;
  writer.offset = start;
  writer.stringField(1, header.node);
  writer.stringField(2, header.topic);
  writer.uintField(3, header.history ? 1 : 0);
  writer.stringField(4, header.cursor);
  writer.uintField(6, header.refill === true ? 1 : 0);
  writer.uintField(10, header.slice ?? 0);
  for (const part of parts) {
    writer.bytes.set(part, writer.offset);
    writer.offset += part.length;
  }
  const end = writer.offset;
  const prefix = new ProtoWriter(start);
  prefix.tag(2, LENGTH);
  prefix.varint(end - start);
  const prefixBytes = prefix.finish();
  writer.bytes.set(prefixBytes, start - prefixBytes.length);
  return writer.bytes.subarray(start - prefixBytes.length, end);
}
