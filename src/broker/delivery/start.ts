/** Where a subscription starts: at the cursor that it resumes, else at the beginning of its window. */
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { HistoryPlace } from '../../wire/cursor.js';
import { checkDepth, type Logs } from './cursor/depth.js';
import { ResumedCursor, readCursor, type SelectorStart } from './cursor/resumed-cursor.js';
import { checkDocumentPlaces } from './documents/document-place.js';
import type { CoverageSum } from './history/coverage.js';
import { keyAtTime } from './history/history-merge.js';
import type { SelectorSet } from './selectors/selector-set.js';

export class SubscriptionStart {
  readonly #window: CheckedSubscription['window'];

  private constructor(
    window: CheckedSubscription['window'],
    /** Undefined for a subscription without a cursor. */
    readonly resumed: ResumedCursor | undefined,
  ) {
    this.#window = window;
  }

  /** Throws cursor_invalid and cursor_expired, as readCursor and ResumedCursor.open do, and what checkDepth throws. */
  static async open(checked: CheckedSubscription, selectors: SelectorSet, logs: Logs): Promise<SubscriptionStart> {
    const { store } = logs;
    const { cursor, topics, window, slice, scope } = checked;
    if (cursor === '') return new SubscriptionStart(window, undefined);
    const state = readCursor(cursor, selectors, store.identity);
    const resumed = await ResumedCursor.open(state, topics, selectors, store, slice?.partition);
    const documents = logs.documents.having(checked.documents?.topics ?? []);
    await checkDocumentPlaces(state.logs ?? [], documents);
    if (scope?.floorNs !== undefined) await checkDepth(state, checked, logs, scope.floorNs);
    return new SubscriptionStart(window, resumed);
  }

  /** How each selector begins, in their order. */
  selectorStarts({ ids }: SelectorSet): readonly SelectorStart[] {
    return this.resumed?.starts ?? ids.map(() => 'new');
  }

  /** Start of the past that is wanted of a node without delivered events; undefined for none, 0n for all. */
  get sinceNs(): bigint | undefined {
    if (this.resumed) {
      const { history, sinceNs } = this.resumed.state;
      // A replay that was cut short continues with the past, even if nodes that join later are served live only.
      return history ? (sinceNs ?? 0n) : sinceNs;
    }
    const { history, sinceNs } = this.#window;
    return history ? (sinceNs ?? 0n) : undefined;
  }

  /** The same for a node that joins later. */
  get joinSinceNs(): bigint | undefined {
    if (this.resumed) return this.resumed.state.sinceNs;
    // The last N events were chosen once, at the start, so a node that joins later is served live only.
    return this.#window.last > 0 ? undefined : this.sinceNs;
  }

  /**
   * Place in merged order after which the past is delivered. Undefined when there is no past to deliver, or after live
   * delivery: then the nodes stand at different times, and only positions can say where.
   */
  get replayFrom(): HistoryPlace | undefined {
    if (this.resumed) return this.resumed.state.history;
    return this.#window.history ? keyAtTime(0n) : undefined;
  }

  /**
   * Call this after the past was delivered, `events` in number. Returns the wall time from which a gone node's events
   * would have been in the window; undefined if the window has no start.
   */
  windowFromNs(events: number, { oldestNs }: CoverageSum): bigint | undefined {
    if (this.resumed) {
      const { history, sinceNs = 0n } = this.resumed.state;
      return history && (history.wallNs > sinceNs ? history.wallNs : sinceNs);
    }
    const { last, sinceNs } = this.#window;
    // A window of the last N events starts at the oldest of them, unless there were fewer than N.
    return last > 0 && events >= last ? oldestNs : sinceNs;
  }
}
