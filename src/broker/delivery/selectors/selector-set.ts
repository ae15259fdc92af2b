/**
 * What a subscription asks with: one predicate, or several selectors. Selects the events that any of them matches, each
 * once, from the match lists that nodes made, and counts by selector.
 */
import type { Predicate } from '../../../subscriptions/predicate.js';
import type { Selector } from '../../../subscriptions/request/selectors.js';
import { type CursorState, selectorKey } from '../../../wire/cursor.js';
import { documentLogOf } from '../../../wire/event/document-topics.js';
import type { Frame } from '../../../wire/frame/frame.js';
import type { EventColumns } from '../../../wire/frame/frame-columns.js';
import type { HistoryFrame } from '../../../wire/frame/history-frame.js';
import type { Match } from '../../../wire/frame/match.js';
import { type Selection, selectEvents, selectMatching } from '../../../wire/frame/splice.js';
import { NONE, type Tally } from './tally.js';

type Indices = Pick<Match, 'all' | 'indices'>;

const ALL: Indices = { all: true, indices: [] };

export class SelectorSet {
  /** The distinct predicates of the selectors that are members, as far as nodes are asked with them. */
  readonly predicates: readonly Predicate[];
  /** Of `predicates`. */
  readonly predicateIds: readonly bigint[];
  /** Ids of all selectors, members or not, in the order of the request. */
  readonly ids: readonly string[];
  /** False for a subscription without selectors: then nothing is said or counted by selector. */
  readonly named: boolean;

  readonly #selectors: readonly Selector[];
  readonly #isMember: (index: number) => boolean;

  /** @param members indices of the selectors that are asked with; undefined: all */
  constructor(
    selectors: readonly Selector[],
    readonly members?: readonly number[],
  ) {
    this.#selectors = selectors;
    this.#isMember = members === undefined ? () => true : (index) => members.includes(index);
    const asked = selectors.filter((_, index) => this.#isMember(index)).map(({ predicate }) => predicate);
    this.ids = selectors.map(({ id }) => id);
    this.named = this.ids[0] !== '';
    const ofNodes = this.named ? asked.filter(({ topics }) => topics.length > 0) : asked;
    const distinct = new Map(ofNodes.map((predicate) => [predicate.id, predicate]));
    this.predicates = [...distinct.values()];
    this.predicateIds = [...distinct.keys()];
  }

  /** These selectors alone, by their indices. */
  only(members: readonly number[]): SelectorSet {
    return new SelectorSet(this.#selectors, members);
  }

  /** Those of these selectors that ask for the topic; undefined: of all. */
  within(members: readonly number[] | undefined, topic: string): SelectorSet {
    if (!this.named) return this;
    const of = this.#selectors.flatMap(({ predicate }, index) => (predicate.topics.includes(topic) ? [index] : []));
    return this.only(members === undefined ? of : of.filter((index) => members.includes(index)));
  }

  /** By which cursors know the selector's predicate. */
  cursorId(index: number): bigint {
    return this.#selectors[index]!.predicate.cursorId;
  }

  /** What cursors say of what is asked for. */
  inCursor(topics: readonly string[]): Pick<CursorState, 'predicateId' | 'selectors'> {
    if (!this.named) return { predicateId: this.predicates[0]!.cursorId };
    const each = this.#selectors.map(({ id, predicate }) => ({
      key: selectorKey(id),
      predicateId: predicate.cursorId,
    }));
    return { predicateId: 0n, selectors: { topics, each } };
  }

  /** The predicates of all selectors, members or not. */
  get all(): readonly Predicate[] {
    return this.#selectors.map(({ predicate }) => predicate);
  }

  /** The predicates of the selectors with these indices. */
  predicatesOf(indices: readonly number[]): Predicate[] {
    return indices.map((index) => this.#selectors[index]!.predicate);
  }

  /** Events of a live frame, with index in [from, to): see selectEvents. Undefined when none matches. */
  ofFrame(
    frame: Frame,
    from: number,
    to: number,
    countMax: number,
    admit?: (element: Buffer) => boolean,
  ): Selection | undefined {
    if (!this.named) {
      const match = matchOf(frame, this.predicateIds[0]!);
      return match && selectEvents(frame, match, from, to, countMax, admit);
    }
    const matches = this.#matches(({ id }) => matchOf(frame, id));
    return matches.some((match) => match) ? selectMatching(frame, matches, from, to, countMax, admit) : undefined;
  }

  /** Events of the answer to a history query for exactly these predicates, or of documents that any of them wants. */
  ofHistory(
    frame: HistoryFrame,
    from: number,
    to: number,
    countMax: number,
    admit?: (element: Buffer) => boolean,
  ): Selection {
    if (!this.named) return selectEvents(frame, ALL, from, to, countMax, admit);
    const isOfNode = documentLogOf(frame.topic) === undefined;
    const only = isOfNode && this.predicates.length === 1 ? this.predicateIds[0] : undefined;
    const matches = this.#matches(({ id, cursorId }) => {
      // A node that is asked with one predicate names none.
      if (only !== undefined) return id === only ? ALL : undefined;
      const own = isOfNode ? id : cursorId;
      return frame.matches.find(({ predicateId }) => predicateId === own);
    });
    return selectMatching(frame, matches, from, to, countMax, admit);
  }

  /** Number of the events in [from, to) of such an answer. */
  countHistory(frame: HistoryFrame & EventColumns, from: number, to: number): Tally {
    if (from >= to) return NONE;
    if (!this.named) return { events: to - from, of: [] };
    return this.taken(this.ofHistory(frame, from, to, to - from));
  }

  /** Number of matches that the frame says were shed. */
  shedIn({ shed }: Frame): Tally {
    if (shed.length === 0) return NONE;
    const concerned = shed.filter(({ predicateIds }) => this.predicateIds.some((id) => predicateIds.includes(id)));
    return this.#tally(concerned.map(({ predicateIds, events }) => ({ ids: predicateIds, events })));
  }

  /** Number of the selected events. */
  taken({ count, matched = [] }: Selection): Tally {
    return { events: count, of: matched.map(({ indices }) => indices.length) };
  }

  /** Number of the events that were not admitted. */
  refused({ refused, matched = [] }: Selection): Tally {
    return { events: refused, of: matched.map((each) => each.refused) };
  }

  #tally(sets: readonly { readonly ids: readonly bigint[]; readonly events: number }[]): Tally {
    let total = 0;
    const of = this.named ? this.ids.map(() => 0) : [];
    for (const { ids, events } of sets) {
      total += events;
      for (const index of of.keys()) {
        if (this.#isMember(index) && ids.includes(this.#selectors[index]!.predicate.id)) of[index]! += events;
      }
    }
    return { events: total, of };
  }

  /** By selector; undefined where it is no member or matches nothing. */
  #matches(find: (predicate: Predicate) => Indices | undefined): (Indices | undefined)[] {
    return this.#selectors.map(({ predicate }, index) => (this.#isMember(index) ? find(predicate) : undefined));
  }
}

/** Match lists by predicate. Frames are shared by all subscriptions, so each frame is indexed only once. */
const indexed = new WeakMap<Frame, ReadonlyMap<bigint, Match>>();
const SCANNED_MAX = 8;

function matchOf(frame: Frame, predicateId: bigint): Match | undefined {
  if (frame.matches.length <= SCANNED_MAX) return frame.matches.find((match) => match.predicateId === predicateId);
  let index = indexed.get(frame);
  if (index === undefined) {
    index = new Map(frame.matches.map((match) => [match.predicateId, match]));
    indexed.set(frame, index);
  }
  return index.get(predicateId);
}
