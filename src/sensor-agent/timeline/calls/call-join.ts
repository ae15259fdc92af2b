/**
 * Joins what a call names (source/calls/call-points.ts) to the call: the one that the same thread is in. A call begins,
 * the kernel copies what it names, and the call returns; it is told as it returns. Where a recording has no such
 * probes, calls are told as they begin.
 */
import { CALL_JOIN_THREADS_MAX } from '../../../limits.js';
import { CATALOGUE, type CatalogueEntry } from '../../../subscriptions/pushdown/catalogue.js';
import type { FieldValues } from '../../source/pages/decoder.js';
import { BoundedMap } from '../bounded-map.js';

/** What is known of a call beside its return. */
export interface JoinedCall {
  readonly type: string;
  /** The values of its begin; undefined where that was before the recording, or where events were lost. */
  readonly begin: FieldValues | undefined;
  /** What it names, by the event that has it; the first of each, as the kernel may do more of the kind for a call. */
  readonly named: ReadonlyMap<string, FieldValues>;
}

interface OpenCall extends JoinedCall {
  readonly named: Map<string, FieldValues>;
}

const NAMING: readonly CatalogueEntry[] = [...CATALOGUE.values()].filter(
  ({ profile, pathPoint }) => profile === 'security' && pathPoint !== undefined,
);
const TYPES: ReadonlySet<string> = new Set(NAMING.map(({ type }) => type));
const BEGINS = /^sys_enter_/;
const RETURNS = /^sys_exit_/;

export class CallJoin {
  readonly #calls = new BoundedMap<number, OpenCall>(CALL_JOIN_THREADS_MAX);
  #toldAtReturn: ReadonlySet<string> = new Set();

  /** `has`: whether the recording has events of a name. */
  begin(has: (event: string) => boolean): void {
    this.#toldAtReturn = new Set(NAMING.filter(({ pathPoint }) => has(pathPoint!.name)).map(({ type }) => type));
  }

  /** Follows an event of a type that names something. True: it is no event by itself. */
  follow(threadId: number, name: string, type: string, values: FieldValues): boolean {
    const atReturn = this.#toldAtReturn.has(type);
    if (RETURNS.test(name)) return !atReturn;
    if (BEGINS.test(name)) {
      if (atReturn) this.#calls.set(threadId, { type, begin: values, named: new Map() });
      return atReturn;
    }
    const call = this.#calls.get(threadId);
    if (call?.type === type && !call.named.has(name)) call.named.set(name, values);
    return true;
  }

  /** The call that returns. */
  take(threadId: number, type: string): JoinedCall {
    const call = this.#calls.get(threadId);
    this.#calls.delete(threadId);
    return call?.type === type ? call : { type, begin: undefined, named: new Map() };
  }

  /** The thread has ended. */
  forget(threadId: number): void {
    this.#calls.delete(threadId);
  }

  /** Events of these types were off until here. */
  switchedOn(types: ReadonlySet<string>): void {
    for (const [threadId, { type }] of this.#calls) if (types.has(type)) this.#calls.delete(threadId);
  }

  /** Whether a call has begun and not returned. */
  get waits(): boolean {
    return this.#calls.size > 0;
  }

  /** Events are missing from here on. */
  clear(): void {
    this.#calls.clear();
  }
}

/** Whether events of a type go through a CallJoin. */
export function namesSomething(type: string): boolean {
  return TYPES.has(type);
}
