/**
 * Calls for which the kernel did not run one of our probes, as it counts them: where another probe was at work on that
 * CPU. It keeps them by event, in the order of the definitions:
 *
 *   kprobe_profile := (name calls missed)*     kprobe_events := (p:group/name place …)*
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CATALOGUE, pathPointsOf, tracedEvents } from '../../../subscriptions/pushdown/catalogue.js';
import type { ProbeMiss } from '../source.js';
import { probeGroup } from './definitions.js';
import { USER_POINT } from './user-point.js';

export class ProbeMisses {
  readonly #tracefs: string;
  readonly #group: string;
  readonly #nowNs: () => bigint;
  /** By `group/event`, as of the last look. */
  #missed: ReadonlyMap<string, number> = new Map();
  /** Trace clock of the last look; undefined: calls were missed before this agent. */
  #lookedNs: bigint | undefined;

  /** `adopted`: what was missed so far may be of events that this agent takes over. */
  constructor(tracefs: string, recorderId: string, adopted: boolean, nowNs: () => bigint) {
    this.#tracefs = tracefs;
    this.#group = probeGroup(recorderId);
    this.#nowNs = nowNs;
    if (adopted) return;
    this.#missed = this.#read() ?? this.#missed;
    this.#lookedNs = nowNs();
  }

  /** What was missed since the last look, one for each type of event. */
  look(): readonly ProbeMiss[] {
    const [fromNs, before] = [this.#lookedNs, this.#missed];
    const nowNs = this.#nowNs();
    const missed = this.#read();
    if (missed === undefined) return [];
    this.#missed = missed;
    this.#lookedNs = nowNs;
    const byType = new Map<string | undefined, { readonly event: string; readonly calls: number }[]>();
    for (const [event, count] of missed) {
      // One that was defined anew counts from 0 again.
      const earlier = before.get(event) ?? 0;
      const calls = count - (count < earlier ? 0 : earlier);
      const name = nameOf(event);
      const type = TYPES.get(name);
      if (calls > 0 && (type !== undefined || OF_PROCESSES.has(name)))
        byType.set(type, [...(byType.get(type) ?? []), { event, calls }]);
    }
    return [...byType].map(([type, events]) => missOf(type, events, fromNs));
  }

  /** Undefined where it cannot be read, or was changed meanwhile. */
  #read(): ReadonlyMap<string, number> | undefined {
    try {
      const counts = [...this.#text('kprobe_profile').matchAll(/^\s*(\S+)\s+\d+\s+(\d+)$/gm)];
      // Nearly always: the definitions need not be read to know whose they are.
      if (counts.every(([, , missed]) => missed === '0')) return new Map();
      const events = [...this.#text('kprobe_events').matchAll(/^[a-z]\d*:(\S+)\/(\S+)/gm)];
      if (events.length !== counts.length || events.some(([, , name], at) => name !== counts[at]![1])) return undefined;
      const missed = new Map<string, number>();
      for (const [at, [, group = '', name = '']] of events.entries()) {
        if (group !== this.#group && !group.startsWith(`${this.#group}_`)) continue;
        const event = `${group}/${name}`;
        missed.set(event, (missed.get(event) ?? 0) + Number(counts[at]![2]));
      }
      return missed;
    } catch {
      return undefined;
    }
  }

  #text(file: string): string {
    return readFileSync(join(this.#tracefs, file), 'utf8');
  }
}

/** They tell nothing by themselves: what is known of processes follows from them. */
const OF_PROCESSES: ReadonlySet<string> = new Set([USER_POINT]);

/**
 * Types of which events are missing where a probe of ours was missed, by the event's own name: those that probes alone
 * tell. Others have an event all the same, which says what it lacks; and kernels before 5.14 count as missed, too, what a
 * probe could not fetch from a program's memory.
 */
const TYPES: ReadonlyMap<string, string> = new Map(
  [...CATALOGUE.values()].flatMap((entry) => {
    const { type, probes } = entry;
    const alone = pathPointsOf(entry).filter(({ instead }) => instead.length > 0);
    // Of two probes in one place, which are missed together, the call's is the event.
    const own = alone.flatMap(({ beside }) => beside.filter((event) => !event.includes('/')));
    return [...probes, ...own].map((event) => [event, type] as const);
  }),
);

function nameOf(event: string): string {
  return event.slice(event.indexOf('/') + 1);
}

function missOf(
  type: string | undefined,
  events: readonly { readonly event: string; readonly calls: number }[],
  fromNs: bigint | undefined,
): ProbeMiss {
  const calls = events.reduce((sum, each) => sum + each.calls, 0);
  const names = events.map(({ event }) => nameOf(event)).join(', ');
  // A system call that is also recorded, or a datagram that is counted only, makes no event.
  const exact = fromNs !== undefined && type !== undefined && tellsAll(type);
  const lacking = exact ? 'events are missing' : 'events may be missing';
  const times = fromNs === undefined ? `at most ${calls} times, before this agent` : `${calls} times`;
  const what = type === undefined ? 'processes are read again' : `${type} ${lacking}`;
  const message = `the kernel did not run the probe ${names} ${times}: ${what}`;
  return { type, events: exact ? calls : undefined, fromNs, message };
}

function tellsAll(type: string): boolean {
  const entry = CATALOGUE.get(type);
  const instead = entry?.pathPoint?.instead;
  return instead !== undefined && tracedEvents(entry!).every((event) => instead.includes(event));
}
