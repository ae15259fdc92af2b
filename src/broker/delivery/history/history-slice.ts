/** Parts of history frames, by position and index. */

import { partitionPoint } from '../../../flow/partition-point.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import type { HistoryFrame } from '../../../wire/frame/history-frame.js';
import { sliceEvents, sliceMatches } from '../../../wire/frame/splice.js';
import { comparePositions, type Position } from '../../../wire/position.js';
import type { HistoryKey } from './history-merge.js';

export function keyAt(node: string, frame: HistoryFrame, index: number): HistoryKey {
  return { wallNs: frame.wallNs[index]!, node, position: positionAt(frame.epoch, frame, index) };
}

/** Index of the first event after the position. */
export function firstAfter(frame: HistoryFrame, position: Position): number {
  const notBehind = (at: number) => comparePositions(positionAt(frame.epoch, frame, at), position) <= 0;
  return partitionPoint(0, frame.wallNs.length, notBehind);
}

/** The events with index in [from, to); `events` of the result is a view. */
export function sliceFrame(frame: HistoryFrame, from: number, to: number): HistoryFrame {
  const { parts } = sliceEvents(frame, from, to);
  return {
    topic: frame.topic,
    epoch: frame.epoch,
    eventSizes: Array.from(frame.eventSizes).slice(from, to),
    wallNs: frame.wallNs.slice(from, to),
    timesNs: frame.timesNs.slice(from, to),
    lanes: Array.from(frame.lanes).slice(from, to),
    ties: Array.from(frame.ties).slice(from, to),
    matches: sliceMatches(frame.matches, from, to),
    incomplete: frame.incomplete,
    events: parts[0]!,
  };
}
