/**
 * A stream of lines as items. Events that came together are one item again: the last of them has the cursor, and until it
 * is there they are held, so that a stream that breaks amid them is resumed from before them, and none comes twice. Runs
 * in browsers.
 *
 *   NDJSON := ({"result": StreamResult} "\n")* ({"end": StreamEnd} | {"error": Problem}) "\n"
 */
import { BackplaneError } from '../../errors.js';
import { LINE_CHARACTERS_MAX, LINE_EVENTS_MAX, STREAM_SILENCE_MS_MAX } from '../../limits/client.js';
import {
  acceptedOf,
  type BackplaneEvent,
  coverageOf,
  eventOf,
  gapOf,
  groupEventOf,
  nodeStatusOf,
  watermarkOf,
} from '../../wire/typed/messages.js';
import type { BatchItem } from './items.js';
import { type Problem, problemError } from './problem.js';

type Json = Record<string, never>;

interface Result {
  readonly event?: Json & { readonly node?: string; readonly topic?: string };
  readonly history?: boolean;
  readonly refill?: boolean;
  readonly cursor?: string;
  readonly accepted?: Json;
  readonly gap?: Json;
  readonly nodeStatus?: Json;
  readonly watermark?: Json;
  readonly coverage?: Json;
  readonly group?: Json;
  readonly slice?: number;
  readonly selectors?: readonly string[];
}

interface Line {
  readonly result?: Result;
  readonly end?: object;
  readonly error?: Problem;
}

/**
 * Throws BackplaneError: what the last line says, or unavailable where the stream was cut off, or where nothing came for
 * `silenceMs` that was waited for: brokers fill a silence, so that a connection without a sound is a dead one.
 */
export async function* readItems(
  response: Response,
  silenceMs = STREAM_SILENCE_MS_MAX,
): AsyncGenerator<BatchItem, void, undefined> {
  const batches = new Batches();
  for await (const lines of linesOf(response, silenceMs)) {
    for (const line of lines) {
      const { result = {}, end, error } = JSON.parse(line) as Line;
      if (result.event !== undefined) {
        const before = batches.add(result, result.event);
        if (before !== undefined) yield before;
        if (result.cursor !== undefined) yield batches.take(result.cursor)!;
        continue;
      }
      if (error !== undefined) throw problemError(error);
      const rest = batches.take();
      if (rest !== undefined) yield rest;
      if (end !== undefined) return;
      const notice = noticeOf(result);
      if (notice !== undefined) yield notice;
    }
  }
  throw new BackplaneError('unavailable', 'the stream was cut off');
}

/** Undefined for what only a newer broker knows. */
function noticeOf({ accepted, gap, nodeStatus, watermark, coverage, group }: Result): BatchItem | undefined {
  if (accepted) return { kind: 'accepted', accepted: acceptedOf(accepted) };
  if (gap) return { kind: 'gap', gap: gapOf(gap) };
  if (nodeStatus) return { kind: 'node', node: nodeStatusOf(nodeStatus) };
  if (watermark) return { kind: 'watermark', watermark: watermarkOf(watermark) };
  if (coverage) {
    const typed = coverageOf(coverage);
    return { kind: 'coverage', coverage: typed, ledger: typed.ledger };
  }
  if (group) return { kind: 'group', group: groupEventOf(group) };
  return undefined;
}

const NONE: readonly string[] = [];

/** Gathers the events that came together. */
class Batches {
  #node = '';
  #topic = '';
  #history = false;
  #refill = false;
  #slice = 0;
  #events: BackplaneEvent[] = [];
  #selectors: (readonly string[])[] = [];

  /** Returns the events before, where they did not come together with this one. */
  add(
    { history = false, refill = false, slice = 0, selectors = NONE }: Result,
    event: NonNullable<Result['event']>,
  ): BatchItem | undefined {
    const { node = '', topic = '' } = event;
    const goesOn =
      node === this.#node &&
      topic === this.#topic &&
      history === this.#history &&
      refill === this.#refill &&
      slice === this.#slice &&
      this.#events.length < LINE_EVENTS_MAX;
    const before = goesOn ? undefined : this.take();
    this.#node = node;
    this.#topic = topic;
    this.#history = history;
    this.#refill = refill;
    this.#slice = slice;
    this.#events.push(eventOf(event));
    this.#selectors.push(selectors);
    return before;
  }

  take(cursor = ''): BatchItem | undefined {
    const events = this.#events;
    if (events.length === 0) return undefined;
    this.#events = [];
    const selectors = this.#selectors;
    this.#selectors = [];
    const selectorsOf = (event: number) => selectors[event] ?? NONE;
    const [node, topic, history, refill] = [this.#node, this.#topic, this.#history, this.#refill];
    return { kind: 'events', node, topic, history, refill, events, selectorsOf, cursor, slice: this.#slice };
  }
}

/** Whole lines, without empty ones, as they come together. Browsers have no async iterator of a body everywhere. */
async function* linesOf(response: Response, silenceMs: number): AsyncGenerator<readonly string[], void, undefined> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await readWithin(reader, silenceMs);
    if (done) return;
    const text = rest + decoder.decode(value, { stream: true });
    const lines = text.split('\n');
    rest = lines.pop()!;
    yield lines.filter((line) => line !== '');
    if (rest.length > LINE_CHARACTERS_MAX) {
      const message = `a line must have at most ${LINE_CHARACTERS_MAX} characters, got more`;
      throw new BackplaneError('too_large', message);
    }
  }
}

async function readWithin(reader: ReadableStreamDefaultReader<Uint8Array>, silenceMs: number) {
  let silent = false;
  const timer = setTimeout(() => {
    silent = true;
    // A read that waits is done then.
    reader.cancel().catch(() => undefined);
  }, silenceMs);
  try {
    const read = await reader.read();
    if (silent) throw new Error(`nothing came for ${silenceMs} ms`);
    return read;
  } catch (thrown) {
    return cut(thrown);
  } finally {
    clearTimeout(timer);
  }
}

function cut(thrown: unknown): never {
  throw new BackplaneError(
    'unavailable',
    `the stream was cut off: ${thrown instanceof Error ? thrown.message : thrown}`,
  );
}
