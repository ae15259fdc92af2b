/** Summary of what each node could answer, from how its queries ended. */

import { msToNs } from '../../../nanoseconds.js';
import {
  type NodeCoverage,
  nsToTimestamp,
  type SubscribeResponse,
  type TimestampFields,
} from '../../../wire/messages.js';
import type { HistoryOutcome } from '../../nodes/history/history-answer.js';
import type { LedgerMessage } from '../selectors/ledger.js';

interface NodeSum {
  outcome: HistoryOutcome | undefined;
  replaced?: boolean | undefined;
  events: number;
  /** Set for a node that went before the window began: when it was last seen, milliseconds since 1970. */
  goneSinceMs?: number | undefined;
}

export interface GoneNode {
  readonly node: string;
  /** Time since which the node is known to be gone, milliseconds since 1970. */
  readonly sinceMs: number;
  readonly lastSeenMs: number;
}

/** A recording that is all later than a window. */
export interface LaterRecording {
  readonly from: TimestampFields;
  /** Nothing was recorded before; else it was, and is evicted. */
  readonly all: boolean;
}

export class CoverageSum {
  readonly #nodes = new Map<string, NodeSum>();
  readonly #later = new Map<string, LaterRecording>();

  /** Wall time of the first delivered event, which is the oldest in merged order. */
  oldestNs: bigint | undefined;

  delivered(node: string, events: number, firstNs: bigint): void {
    this.#of(node).events += events;
    if (events > 0) this.oldestNs ??= firstNs;
  }

  /** @param replaced see NodeRecord: where its recording begins is not where the node's past does */
  ended(node: string, outcome: HistoryOutcome, replaced = false): void {
    Object.assign(this.#of(node), { outcome, replaced });
  }

  /** Adds nodes that were gone when the others were asked. One that went before the window began lacks no events. */
  gone(nodes: readonly GoneNode[], windowFromNs: bigint | undefined): void {
    for (const { node, sinceMs, lastSeenMs } of nodes) {
      const before = windowFromNs !== undefined && msToNs(sinceMs) < windowFromNs;
      this.#of(node).goneSinceMs = before ? lastSeenMs : undefined;
    }
  }

  /** Adds a node that was not asked because its whole recording is later than the window. */
  recordedLater(node: string, recording: LaterRecording): void {
    this.#later.set(node, recording);
  }

  message(cursor: string, ledger: LedgerMessage): SubscribeResponse {
    const nodes = [
      ...Array.from(this.#nodes, ([node, sum]) => nodeCoverage(node, sum)),
      ...Array.from(this.#later, ([node, recording]) => laterCoverage(node, recording)),
    ].sort((a, b) => (a.node < b.node ? -1 : 1));
    return { coverage: { nodes, cursor, ledger } };
  }

  #of(node: string): NodeSum {
    let sum = this.#nodes.get(node);
    if (sum === undefined) {
      sum = { outcome: undefined, events: 0 };
      this.#nodes.set(node, sum);
    }
    return sum;
  }
}

function nodeCoverage(
  node: string,
  { outcome, replaced = false, events, goneSinceMs }: NodeSum,
): NodeCoverage & { node: string } {
  if (goneSinceMs !== undefined && outcome?.kind !== 'end' && events === 0) {
    const lastSeen = nsToTimestamp(msToNs(goneSinceMs));
    return { node, gone: true, lastSeen, message: '' };
  }
  if (outcome === undefined) return { node, absent: true, events, message: 'the node is not connected' };
  if (outcome.kind === 'failed') {
    return { node, absent: events === 0, brokenOff: events > 0, events, message: outcome.message.slice(0, 512) };
  }
  const { end } = outcome;
  return {
    node,
    from: end.coveredFrom,
    to: end.coveredTo,
    evicted: end.evicted || (end.beginsLater && replaced),
    beginsLater: end.beginsLater && !replaced,
    lost: end.lost,
    lostUnknown: end.lostUnknown,
    damagedBytes: end.damagedBytes,
    losses: end.losses,
    source: end.source,
    message: lateNote(end.late, end.message),
    events,
  };
}

/** Coverage of a node that has nothing of the window: an empty stretch at the start of its recording. */
function laterCoverage(node: string, { from, all }: LaterRecording): NodeCoverage & { node: string } {
  const nothing = { lost: '0', lostUnknown: false, damagedBytes: '0', source: '', events: 0 };
  const message = all ? '' : 'its recording begins after the window';
  return { node, from, to: from, evicted: !all, beginsLater: all, ...nothing, message };
}

function lateNote(late: string, message: string): string {
  const note = late === '0' ? '' : `${late} events came after their turn`;
  return [note, message.slice(0, 512)].filter(Boolean).join('; ');
}
