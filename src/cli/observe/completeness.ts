/**
 * Whether a subscription brought all requested events, judged by the other items of its stream. Kernel losses do not
 * count here, because nobody knows whether the lost events would have matched.
 */

import type { SubscribeItem } from '../../client/subscribe-item.js';
import { NODES_SHOWN_MAX } from '../../limits.js';
import { shownList } from '../../text/shown.js';
import type { Coverage } from '../../wire/messages.js';

type NodeCoverage = Coverage['nodes'][number];

/** Nodes that are named with their reasons; the rest is counted. */
const NAMED_MAX = 8;

export class Completeness {
  /** Reason by node; a node that returns and answers for the same window is complete after all. */
  readonly #away = new Map<string, string>();
  /** Nodes with frames that the broker's log could not read. */
  readonly #unread = new Set<string>();
  /** Reason by node, final. */
  readonly #lost = new Map<string, string>();
  readonly #unmatched: string[] = [];

  readonly #fromGiven: boolean;
  readonly #refill: boolean;

  /**
   * `fromGiven`: the window has a start, so that evicted events are missing from it. `refill`: shed or skipped events
   * come later, or are stated as evicted.
   */
  constructor(fromGiven: boolean, refill: boolean) {
    this.#fromGiven = fromGiven;
    this.#refill = refill;
  }

  saw(item: SubscribeItem): void {
    if (item.kind === 'accepted') {
      for (const node of item.accepted.nodesMissing) this.#goes(node, 'did not answer');
    } else if (item.kind === 'link' && item.cluster !== undefined) {
      // A broker of the only cluster is waited for.
      if (item.cause === undefined) this.#away.delete(`cluster ${item.cluster}`);
      else this.#goes(`cluster ${item.cluster}`, `away: ${item.cause.message}`);
    } else if (item.kind === 'coverage') {
      for (const node of item.coverage.nodes) this.#covered(node);
    } else if (item.kind === 'gap' && item.gap.reason !== 'kernel_overrun' && !this.#comes(item.gap.reason)) {
      const { node, topic, topics, reason } = item.gap;
      // The node's recorder is asked for the frames that the log cannot read; its answer shows whether all came.
      if (reason === 'damaged' && node) {
        this.#unread.add(node);
        this.#goes(node, 'gap, damaged');
        return;
      }
      const where = topic ? [topic] : topics.map((part) => part.topic);
      this.#lose(node || `topic ${where.join(', ')}`, `gap, ${item.gap.reason}`);
    }
  }

  /** Notes a requested name that no node has; the sentence says so. */
  unmatched(sentence: string): void {
    if (this.#unmatched.length < NODES_SHOWN_MAX) this.#unmatched.push(sentence);
  }

  /** `node-a (absent: the node is not connected), ...`, or undefined when nothing is. */
  missing(): string | undefined {
    const reasons = new Map([...this.#away, ...this.#lost]);
    const all = [...this.#unmatched, ...[...reasons].map(([node, reason]) => `${node} (${reason})`)];
    if (all.length === 0) return undefined;
    return shownList(all, NAMED_MAX);
  }

  #comes(reason: string): boolean {
    return this.#refill && ['shed', 'skipped', 'refused'].includes(reason);
  }

  #goes(node: string, reason: string): void {
    if (this.#away.size < NODES_SHOWN_MAX) this.#away.set(node, reason);
  }

  #lose(what: string, reason: string): void {
    if (this.#lost.size < NODES_SHOWN_MAX) this.#lost.set(what, reason);
  }

  #covered(coverage: NodeCoverage): void {
    const { node, absent, gone, brokenOff, message, damagedBytes, evicted, losses } = coverage;
    if (absent || brokenOff) {
      this.#goes(node, `${absent ? 'absent' : 'broken off'}${message === '' ? '' : `: ${message}`}`);
      return;
    }
    this.#away.delete(node);
    // The node was gone before the window began, so nothing of it is missing.
    if (gone) return;
    if (damagedBytes !== '0') this.#lose(node, `${damagedBytes} bytes of its recording are damaged`);
    else if (losses.length > 0) this.#lose(node, [...new Set(losses.map(({ reason }) => reason))].join(', '));
    else if (evicted && (this.#fromGiven || this.#unread.has(node)))
      this.#lose(node, 'older events are no longer recorded');
  }
}
