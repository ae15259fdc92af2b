/**
 * Makes batches from frames without decoding an event: the agent has marked which events match, and the elements of
 * `EventBatch.events` concatenate.
 *
 *   SubscribeResponse := events EventBatch 2
 *   EventBatch        := node 1 | topic 2 | history bool 3 | cursor 4 | events Event 5 * | refill bool 6
 *                      | matches SelectorMatch 7 * | slice 10
 *   SelectorMatch     := selector 1 | all bool 2 | indices packed uint32 3
 */

import { LENGTH, ProtoWriter, varintBytes } from '../protobuf.js';
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
  /** With selectors: by selector, which of the events it matches, and how many of the refused; else undefined. */
  readonly matched?: readonly Matched[] | undefined;
}

/** The events of a selection that one selector matches. */
export interface Matched {
  /** Places in the selection, ascending. */
  readonly indices: readonly number[];
  readonly refused: number;
}

type Indices = Pick<Match, 'all' | 'indices'>;

/**
 * The events with index in [from, to) that match, at most `countMax` of them. Neighbours become one part, so that a
 * frame whose events all match is one view. `admit` is shown each event, as a whole element, and may refuse it.
 */
export function selectEvents(
  columns: EventColumns,
  match: Indices,
  from: number,
  to: number,
  countMax: number,
  admit?: (element: Buffer) => boolean,
): Selection {
  const { eventSizes, events } = columns;
  if (match.all && admit === undefined && from === 0 && to === eventSizes.length && to > 0 && to <= countMax) {
    return { parts: [events], count: to, refused: 0, bytes: events.length, next: to };
  }
  const parts: Buffer[] = [];
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

/** As selectEvents does for one match: every event that any of `matches` has, once. Undefined ones match nothing. */
export function selectMatching(
  columns: EventColumns,
  matches: readonly (Indices | undefined)[],
  from: number,
  to: number,
  countMax: number,
  admit?: (element: Buffer) => boolean,
): Selection {
  const union = unionOf(matches, columns.eventSizes.length);
  const verdicts: boolean[] = [];
  const asked = admit && ((element: Buffer) => verdicts[verdicts.push(admit(element)) - 1]!);
  const selection = selectEvents(columns, { all: false, indices: union }, from, to, countMax, asked);
  /** By index of the frame, the place in the selection, or REFUSED, or PASSED_BY. */
  const places = new Int32Array(columns.eventSizes.length).fill(PASSED_BY);
  let place = 0;
  let looked = 0;
  for (const index of union) {
    if (index < from || index >= selection.next) continue;
    places[index] = asked === undefined || verdicts[looked++] ? place++ : REFUSED;
  }
  return { ...selection, matched: matches.map((match) => matchedOf(match?.all ? union : match?.indices, places)) };
}

const REFUSED = -1;
const PASSED_BY = -2;

/** Ascending. */
function unionOf(matches: readonly (Indices | undefined)[], count: number): number[] {
  const marked = new Uint8Array(count);
  for (const match of matches) {
    if (match?.all) marked.fill(1);
    else for (const index of match?.indices ?? []) marked[index] = 1;
  }
  const union: number[] = [];
  for (let index = 0; index < count; index++) if (marked[index] === 1) union.push(index);
  return union;
}

function matchedOf(matching: readonly number[] = [], places: Int32Array): Matched {
  const indices: number[] = [];
  let refused = 0;
  for (const index of matching) {
    const place = places[index]!;
    if (place === REFUSED) refused++;
    else if (place >= 0) indices.push(place);
  }
  return { indices, refused };
}

/** The matches of the events in [from, to), as of a frame of these alone. */
export function sliceMatches(matches: readonly Match[], from: number, to: number): Match[] {
  return matches.flatMap((match) => {
    if (match.all) return [match];
    const indices = match.indices.filter((index) => index >= from && index < to).map((index) => index - from);
    if (indices.length === 0) return [];
    const all = indices.length === to - from;
    return [{ predicateId: match.predicateId, all, indices: all ? [] : indices }];
  });
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
  /** With selectors: the events that each of them matches, by place in the batch. */
  readonly matches?: readonly BatchMatch[] | undefined;
}

/** The events of a batch that a selector matches. */
export interface BatchMatch {
  readonly selector: string;
  /** Every event; indices is empty then. */
  readonly all: boolean;
  readonly indices: readonly number[];
}

/** A whole SubscribeResponse, encoded. */
export function encodeEventBatch(header: BatchHeader, parts: readonly Buffer[]): Buffer {
  let eventBytes = 0;
  for (const part of parts) eventBytes += part.length;
  const { matches = [] } = header;
  for (const { selector, indices } of matches) eventBytes += selector.length + indices.length * 2 + 16;
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
  for (const match of matches) writeMatch(writer, match);
  const end = writer.offset;
  const prefix = new ProtoWriter(start);
  prefix.tag(2, LENGTH);
  prefix.varint(end - start);
  const prefixBytes = prefix.finish();
  writer.bytes.set(prefixBytes, start - prefixBytes.length);
  return writer.bytes.subarray(start - prefixBytes.length, end);
}

function writeMatch(writer: ProtoWriter, { selector, all, indices }: BatchMatch): void {
  let packed = 0;
  for (const index of indices) packed += varintBytes(index);
  const indexBytes = packed === 0 ? 0 : 1 + varintBytes(packed) + packed;
  writer.tag(7, LENGTH);
  writer.varint(2 + selector.length + (all ? 2 : 0) + indexBytes);
  writer.stringField(1, selector);
  writer.uintField(2, all ? 1 : 0);
  writer.packedField(3, indices);
}
