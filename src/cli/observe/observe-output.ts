/**
 * Prints each item of an `observe` subscription: events on stdout, all others as notices on stderr; with jsonpb every
 * item as one line of JSON.
 */
import type { SubscribeItem } from '../../client/subscribe-item.js';
import { timestampNs, timestampText } from '../../subscriptions/timestamp.js';
import { documentLogOf } from '../../wire/event/document-topics.js';
import { batchToJson, messageToJson } from '../../wire/message-json.js';
import type { Accepted, Coverage, GroupEvent, RecordingBegin } from '../../wire/messages.js';
import type { EventLines } from '../render/event-lines.js';
import { NodeTimes } from '../render/node-times.js';
import {
  beginningNotice,
  coverageNotices,
  gapNotice,
  linkNotice,
  missingNotice,
  nodeNotice,
  type WindowBound,
  windowBound,
} from '../render/notices.js';
import { jsonText } from '../render/text.js';
import { timeText } from '../render/time.js';
import type { Screen } from './screen.js';
import { type Line, TimeOrder } from './time-order.js';

type AcceptedItem = Extract<SubscribeItem, { kind: 'accepted' }>;

export interface ObserveOutputOptions {
  /** Undefined for jsonpb. */
  readonly lines: EventLines | undefined;
  /** The past was asked for: it is loaded before live events come. */
  readonly history: boolean;
  /** Live events are asked for. */
  readonly follow: boolean;
  /** Complete coverage is stated too. */
  readonly verbose: boolean;
  readonly utc: boolean;
  /** JSON lines of events carry cursors. */
  readonly cursors: boolean;
  /** JSON goes to a terminal, so that control characters in it are escaped. */
  readonly terminal: boolean;
}

export class ObserveOutput {
  readonly #screen: Screen;
  readonly #options: ObserveOutputOptions;
  readonly #clock = new NodeTimes();
  readonly #order = new TimeOrder((lines) => this.#print(lines));
  #headed = false;
  #events = 0;
  #loading = true;
  #cursor = '';
  /** The last of which it is known that stdout took all before it. */
  #takenCursor = '';
  /** Clusters that have accepted it; '' for the only one. */
  readonly #accepted = new Set<string>();
  #bound: WindowBound | undefined;
  /** Nodes of which was said that their recording begins later. */
  readonly #begun = new Set<string>();
  #until = '';

  constructor(screen: Screen, options: ObserveOutputOptions) {
    this.#screen = screen;
    this.#options = options;
    screen.status('waiting for the nodes');
  }

  /** Once ended: resumes behind what stdout took; '' where there was nothing, or it is not known. */
  get cursor(): string {
    return this.#takenCursor;
  }

  /** The window's end as the broker resolved it, RFC 3339; '' where there is none. */
  get until(): string {
    return this.#until;
  }

  /** Resolves when stdout has room for more. */
  async show(item: SubscribeItem): Promise<void> {
    if (this.#options.lines !== undefined && item.kind === 'events') await this.#order.add(item.batch);
    else {
      // A notice about a stretch is printed after its events.
      await this.#order.flush();
      if (item.kind === 'link') this.#screen.notice(linkNotice(item));
      else if (this.#options.lines === undefined) await this.#showJson(item);
      else this.#showNotices(item);
    }
    this.#follow(item);
    if (this.#screen.idle && !this.#order.holds) this.#takenCursor = this.#cursor;
  }

  /** Prints all that was shown. Resolves with false when stdout did not take it before it was waited for no longer. */
  async flush(): Promise<boolean> {
    await this.#order.flush();
    return this.#screen.taken();
  }

  /** Prints what is still held, and removes the status line. */
  async end(): Promise<void> {
    if (await this.flush()) this.#takenCursor = this.#cursor;
    this.#screen.status('');
  }

  async #print(lines: readonly Line[]): Promise<void> {
    const { lines: format, cursors } = this.#options;
    let text = this.#headed ? '' : format!.header;
    this.#headed = true;
    for (const { node, topic, event, cursor } of lines) text += format!.line(node, topic, event, cursors ? cursor : '');
    await this.#screen.print(text);
  }

  async #showJson(item: Exclude<SubscribeItem, { kind: 'link' }>): Promise<void> {
    if (item.kind === 'accepted') this.#showWindow(item);
    if (item.kind === 'coverage') this.#showCoverageBeginnings(item.coverage);
    await this.#screen.print(`${jsonText(itemJson(item), this.#options.terminal)}\n`);
  }

  #showNotices(item: SubscribeItem): void {
    if (item.kind === 'gap') this.#screen.notice(gapNotice(item.gap, this.#clock, this.#options.utc));
    else if (item.kind === 'node_status') this.#screen.notice(nodeNotice(item.status));
    else if (item.kind === 'coverage') this.#showCoverage(item.coverage);
    else if (item.kind === 'group') this.#showSlice(item.group);
    else if (item.kind === 'accepted') this.#showAccepted(item);
  }

  /** Only where details are wanted: with many slices there is a line for each. */
  #showSlice({ assigned, revoking }: GroupEvent): void {
    if (!this.#options.verbose) return;
    if (assigned) this.#screen.notice(`slice ${assigned.slice} comes here (epoch ${assigned.epoch})`);
    if (revoking) this.#screen.notice(`slice ${revoking.slice} goes to another member`);
  }

  #showAccepted(item: AcceptedItem): void {
    const missing = missingNotice(item.accepted);
    if (missing !== undefined) this.#screen.notice(missing);
    this.#showWindow(item);
  }

  #showWindow({ accepted, cluster = '' }: AcceptedItem): void {
    // A stream that was resumed has no start of its own.
    this.#bound ??= windowBound(accepted);
    // Said now, because a stream that ends at its limit has no coverage.
    this.#showBeginnings(accepted.beginsLater);
    this.#showFollowing(accepted, cluster);
  }

  /** Prints one notice when following begins, because a quiet stream looks like one that hangs. */
  #showFollowing({ nodes, plan }: Accepted, cluster: string): void {
    if (!this.#options.follow || this.#accepted.has(cluster)) return;
    const documents = (plan?.topics ?? []).filter((topic) => documentLogOf(topic) !== undefined);
    if (nodes.length + documents.length === 0) return;
    const each =
      nodes.length === 1
        ? [`1 node, ${nodes[0]}`]
        : nodes.length === 0
          ? []
          : [`${nodes.length} nodes${cluster === '' ? '' : ` of cluster ${cluster}`}`];
    const which = [...each, ...documents].join(', ');
    this.#screen.notice(`following ${which}; end with Ctrl-C`);
  }

  #showCoverage(coverage: Coverage): void {
    const { verbose, utc } = this.#options;
    for (const line of coverageNotices(coverage, verbose, utc)) this.#screen.notice(line);
    this.#showCoverageBeginnings(coverage);
  }

  #showCoverageBeginnings({ nodes }: Coverage): void {
    this.#showBeginnings(nodes.filter(({ beginsLater }) => beginsLater));
  }

  /** Says it once of each node. */
  #showBeginnings(recordings: readonly Pick<RecordingBegin, 'node' | 'from'>[]): void {
    const bound = this.#bound;
    if (bound === undefined) return;
    const later = recordings.flatMap(({ node, from }) => {
      const fromNs = from ? timestampNs(from) : 0n;
      return fromNs > bound.wallNs && !this.#begun.has(node) ? [{ node, fromNs }] : [];
    });
    for (const { node } of later) this.#begun.add(node);
    const notice = beginningNotice(later, bound, this.#options.utc);
    if (notice !== undefined) this.#screen.notice(notice);
  }

  /** Updates cursor, clock and status line after an item was shown. */
  #follow(item: SubscribeItem): void {
    if (item.kind === 'accepted') {
      this.#accepted.add(item.cluster ?? '');
      const { until } = item.accepted;
      if (until) this.#until = timestampText(until);
      if (this.#options.history) this.#screen.status('reading the past');
      else this.#loaded();
    } else if (item.kind === 'events') {
      this.#cursor = item.batch.cursor || this.#cursor;
      this.#events += item.batch.received.length;
      const last = item.batch.received.at(-1)?.message;
      if (last?.time) {
        const wallNs = timestampNs(last.time);
        this.#clock.learn(item.batch.node, last, wallNs);
        if (item.batch.history && this.#loading) {
          this.#screen.status(`${this.#events} events, ${timeText(wallNs, this.#options.utc)} reached`);
        }
      }
      if (!item.batch.history) this.#loaded();
    } else if (item.kind === 'watermark') {
      this.#cursor = item.watermark.cursor || this.#cursor;
      this.#loaded();
    } else if (item.kind === 'coverage') {
      this.#cursor = item.coverage.cursor || this.#cursor;
      this.#loaded();
    }
  }

  #loaded(): void {
    this.#loading = false;
    this.#screen.status('');
  }
}

function itemJson(item: Exclude<SubscribeItem, { kind: 'link' }>): object {
  switch (item.kind) {
    case 'events':
      return { events: batchToJson(item.batch) };
    case 'node_status':
      return { nodeStatus: messageToJson(item.status) };
    case 'accepted':
      return { accepted: messageToJson(item.accepted) };
    case 'gap':
      return { gap: messageToJson(item.gap) };
    case 'watermark':
      return { watermark: messageToJson(item.watermark) };
    case 'coverage':
      return { coverage: messageToJson(item.coverage) };
    case 'group':
      return { group: messageToJson(item.group) };
  }
}
