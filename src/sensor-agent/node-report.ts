/** What an agent tells its broker about itself: once at Hello, then every few seconds. */
import { type Hello, type NodeReport, nsToTimestamp } from '../wire/messages.js';
import type { Recorder } from './recorder.js';

export interface NodeFacts {
  readonly nodeName: string;
  readonly version: string;
  readonly kernelRelease: string;
  readonly source: string;
  readonly degraded: string | undefined;
  readonly recorder: Recorder;
  readonly eventsMatched: number;
}

let measured = { atMs: 0, cpuMs: 0 };

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
    degraded: facts.degraded ?? '',
  };
}

export function nodeReport(facts: NodeFacts): NodeReport {
  const { log } = facts.recorder;
  const oldest = log.segments()[0]?.firstTimeNs;
  return {
    ...(oldest === undefined ? {} : { recordedFrom: nsToTimestamp(oldest) }),
    recordedBytes: log.bytes,
    eventsRecorded: facts.recorder.entriesRecorded,
    eventsLost: facts.recorder.entriesLost + facts.recorder.entriesUnrecorded,
    eventsMatched: facts.eventsMatched,
    cpuRatio: cpuRatio(),
    residentBytes: process.memoryUsage.rss(),
    wallTime: wallNow(),
    degraded: facts.degraded ?? '',
    source: facts.source,
  };
}

/** Share of one core that this process used since the last call. */
function cpuRatio(): number {
  const { user, system } = process.cpuUsage();
  const now = { atMs: performance.now(), cpuMs: (user + system) / 1000 };
  const ratio = (now.cpuMs - measured.cpuMs) / Math.max(1, now.atMs - measured.atMs);
  measured = now;
  return ratio;
}

function wallNow() {
  return nsToTimestamp(BigInt(Date.now()) * 1_000_000n);
}
