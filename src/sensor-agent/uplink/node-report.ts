/** Builds an agent's messages about itself to its broker: Hello once, then a report every few seconds. */

import { BLIND_SPOT_CHARACTERS_MAX, NODE_MESSAGE_CHARACTERS_MAX } from '../../limits.js';
import { wallNowNs } from '../../nanoseconds.js';
import type { SegmentLog } from '../../storage/segment-log/segment-log.js';
import type { Profile } from '../../subscriptions/pushdown/catalogue.js';
import { type Hello, type NodeReport, nsToTimestamp } from '../../wire/messages.js';
import { residentBytes } from '../guard/resident.js';
import { type Budget, budgetToMessage } from '../publish/budget.js';
import type { Recorder } from '../recorder/recorder.js';
import type { ArgumentsBy } from '../source/source.js';

export interface NodeFacts {
  readonly nodeName: string;
  readonly labels: readonly string[];
  readonly version: string;
  readonly kernelRelease: string;
  readonly source: string;
  readonly degraded: string | undefined;
  readonly argumentsBy: ArgumentsBy | undefined;
  /** By event type. */
  readonly blindSpots: ReadonlyMap<string, string>;
  readonly profiles: readonly Profile[];
  readonly recorder: Recorder;
  readonly eventsMatched: number;
  readonly eventsShed: number;
  readonly liveDemandBytesPerSecond: number;
  /** The budget from the node's own settings. */
  readonly budget: Budget;
}

export function nodeHello(facts: NodeFacts): Hello {
  const { origin } = facts.recorder.timeline;
  return {
    node: facts.nodeName,
    recorderId: facts.recorder.id,
    epoch: origin.epoch,
    bootId: origin.bootId,
    version: facts.version,
    kernelRelease: facts.kernelRelease,
    source: facts.source,
    wallTime: wallNow(),
    degraded: degradedText(facts),
    profiles: [...facts.profiles],
    labels: [...facts.labels],
    budget: budgetToMessage(facts.budget),
  };
}

/** `cpuRatio`: what the reporter's own CpuMeter says. */
export function nodeReport(facts: NodeFacts, cpuRatio: number): NodeReport {
  const { log } = facts.recorder;
  const oldest = log.firstTimeNs;
  return {
    ...(oldest === undefined ? {} : { recordedFrom: nsToTimestamp(oldest) }),
    recordedAll: hasBeginning(log),
    recordedBytes: log.bytes,
    eventsRecorded: facts.recorder.entriesRecorded,
    eventsLost: facts.recorder.entriesLost + facts.recorder.entriesUnrecorded,
    eventsMatched: facts.eventsMatched,
    eventsShed: facts.eventsShed,
    liveDemandBytesPerSecond: Math.round(facts.liveDemandBytesPerSecond),
    cpuRatio,
    residentBytes: residentBytes(),
    wallTime: wallNow(),
    degraded: degradedText(facts),
    source: facts.source,
    argumentsBy: facts.argumentsBy ?? '',
    blindSpots: Object.fromEntries(
      [...facts.blindSpots].map(([type, text]) => [type, text.slice(0, BLIND_SPOT_CHARACTERS_MAX)]),
    ),
    redactions: Object.fromEntries(facts.recorder.redactor.counts),
  };
}

/** Whether nothing was recorded before the oldest record: nothing was evicted, and nothing is known to be lost. */
function hasBeginning(log: SegmentLog): boolean {
  if (log.firstOrdinal > 0 || log.notes.length > 0) return false;
  const [first, ...others] = log.segments();
  if (first === undefined || first.firstOrdinal > 0 || first.firstTimeNs === 0n) return false;
  // Where the wall clock was set back, later segments have earlier times.
  return others.every(({ firstTimeNs }) => firstTimeNs === 0n || firstTimeNs >= first.firstTimeNs);
}

/** Each reporter has its own meter, as several nodes of one process report at their own times. */
export class CpuMeter {
  /** The last measurement; at first, the process's start. */
  #measured = { atMs: 0, cpuMs: 0 };

  /** Share of one core that this process used since the last call, or since it was started. */
  ratio(): number {
    const { user, system } = process.cpuUsage();
    const now = { atMs: performance.now(), cpuMs: (user + system) / 1000 };
    const ratio = (now.cpuMs - this.#measured.cpuMs) / Math.max(1, now.atMs - this.#measured.atMs);
    this.#measured = now;
    return ratio;
  }
}

/** Cut to the length that brokers accept. */
function degradedText({ degraded = '' }: NodeFacts): string {
  return degraded.slice(0, NODE_MESSAGE_CHARACTERS_MAX);
}

function wallNow() {
  return nsToTimestamp(wallNowNs());
}
