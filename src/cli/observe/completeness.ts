/**
 * Whether a subscription brought all that was asked for, from what its stream
 * says of it. What the kernel lost is stated elsewhere: nobody knows whether it
 * would have matched.
 */

import type { SubscribeItem } from '../../client/subscribe-item.js';
import { NODES_SHOWN_MAX } from '../../limits.js';
import { shownList } from '../../text/shown.js';
import type { Coverage } from '../../wire/messages.js';

type NodeCoverage = Coverage['nodes'][number];

/** Nodes that are named with their reasons; the rest is counted. */
const NAMED_MAX = 8;

export class Completeness {
  /** Node to why; one that comes back and answers for the same window is complete after all. */
  readonly #away = new Map<string, string>();
  /** Nodes of which the broker's log could not read all. */
  readonly #unread = new Set<string>();
  /** Node to why, for good. */
  readonly #lost = new Map<string, string>();
  readonly #unmatched: string[] = [];

  /**
   * `fromGiven`: the window has a start, so that older events were asked for than may be recorded still.
   * `refill`: what was shed or skipped comes later, or is told as evicted.
   */
  constructor(
    private readonly fromGiven: boolean,
    private readonly refill: boolean,
  ) {}

  saw(item: SubscribeItem): void {
    if (item.kind === 'accepted') {
      for (const node of item.accepted.nodesMissing) this.#goes(node, 'did not answer');
    } else if (item.kind === 'coverage') {
      for (const node of item.coverage.nodes) this.#covered(node);
    } else if (item.kind === 'gap' && item.gap.reason !== 'kernel_overrun' && !this.#comes(item.gap.reason)) {
      const { node, topic, topics, reason } = item.gap;
      // Its recorder is asked for what the broker's log cannot read: its answer says whether that was all.
      if (reason === 'damaged' && node) {
        this.#unread.add(node);
        this.#goes(node, 'gap, damaged');
        return;
      }
      const where = topic ? [topic] : topics.map((part) => part.topic);
      this.#lose(node || `topic ${where.join(', ')}`, `gap, ${item.gap.reason}`);
    }
  }

  /** A name that was asked for is no node's: said in this sentence. */
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
    return this.refill && ['shed', 'skipped', 'refused'].includes(reason);
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
    // Before the window began, so that nothing of it is missing.
    if (gone) return;
    if (damagedBytes !== '0') this.#lose(node, `${damagedBytes} bytes of its recording are damaged`);
    else if (losses.length > 0) this.#lose(node, [...new Set(losses.map(({ reason }) => reason))].join(', '));
    else if (evicted && (this.fromGiven || this.#unread.has(node)))
      this.#lose(node, 'older events are no longer recorded');
  }
}
