/**
 * The kernel's copies of arguments by probes on foreign filesystems: those that come and go, as containers' do, and that
 * a definition keeps busy. Removing a definition erases what is unread in every instance in which it ever was on, and if
 * recording stopped for that, programs that begin meanwhile would be told without their arguments. So these probes have
 * an instance of their own, and before some of them are removed another one takes its place: it has all others on before
 * the earlier one is read to its end and removed, and their definitions are on nowhere any more.
 *
 *   one: x y ──▶ one: x y, two: y ──▶ two: y ──▶ x is removed
 *
 * What both recorded is there twice: of two copies of one exec the second belongs to none.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KiB, MiB } from '../../../limits.js';
import type { Disturbance, SourcePage } from '../source.js';
import { type InstanceSettings, removeInstance } from '../tracefs/instance.js';
import { enabledEvents } from '../tracefs/instance-controls.js';
import { ReadInstance } from '../tracefs/read-instance.js';

/** The two names that take turns. */
export function foreignNames(name: string): readonly [string, string] {
  return [`${name}-one`, `${name}-two`];
}

/** Reads of a buffer, which a program that begins again and again fills as fast as it is read. */
const RUNS_MAX = 4;

type TakePage = (page: SourcePage) => void;

/** What was read. */
interface Read {
  readonly pages: number;
  /** How much of its buffer the fullest lane had in use, 0 to 1. */
  readonly filled: number;
  /** Trace clock: all from before it was read. */
  readonly horizonNs: bigint | undefined;
}

type Settings = Omit<InstanceSettings, 'name' | 'events' | 'onDemand'>;

export class ForeignCopies {
  readonly #tracefs: string;
  readonly #names: readonly string[];
  readonly #settings: Settings;
  readonly #nowNs: () => bigint;
  /** The last is in use. An agent that was killed as one took the other's place leaves both. */
  readonly #instances: ReadInstance[] = [];

  /** Removes what an earlier agent left, unread. */
  static clear(tracefs: string, name: string): void {
    for (const each of foreignNames(name)) removeInstance(join(tracefs, 'instances', each));
  }

  /**
   * Goes on with what an earlier agent left.
   * @param name of the instance that has the execs
   * @param left `group/event` of definitions that are there
   * @param nowNs trace clock
   */
  constructor(tracefs: string, name: string, settings: Settings, left: readonly string[], nowNs: () => bigint) {
    this.#tracefs = tracefs;
    this.#names = foreignNames(name);
    this.#settings = settings;
    this.#nowNs = nowNs;
    try {
      for (const each of this.#names) {
        const path = join(tracefs, 'instances', each);
        if (!existsSync(path)) continue;
        // One in which nothing was copied has nothing to take over.
        if (enabledEvents(path).length > 0) this.#instances.push(this.#make(each, left));
        else removeInstance(path);
      }
    } catch (cause) {
      this.close();
      throw cause;
    }
    this.#instances.sort((a, b) => a.instance.enabled.size - b.instance.enabled.size);
  }

  /** `group/event` of those that are on. */
  get enabled(): ReadonlySet<string> {
    return this.#instances.at(-1)?.instance.enabled ?? new Set();
  }

  /** Throws what the kernel says. */
  switchOn(event: string): void {
    if (this.#instances.length === 0) this.#instances.push(this.#make(this.#names[0]!, []));
    this.#instances.at(-1)!.instance.switch(event, true);
  }

  /** Somebody removed its definition. */
  forget(event: string): void {
    for (const { instance } of this.#instances) instance.enabled.delete(event);
  }

  /** Reads all that is there. */
  read(page: TakePage): Read {
    const all = this.#instances.map((reader) => runOut(reader, page));
    return {
      pages: all.reduce((sum, { pages }) => sum + pages, 0),
      filled: Math.max(0, ...all.map(({ filled }) => filled)),
      horizonNs: all.reduce<bigint | undefined>((lowest, { horizonNs }) => earlier(lowest, horizonNs), undefined),
    };
  }

  /** So that the definitions of `events` can be removed, and nothing that is unread with them. */
  switchOff(events: readonly string[], page: TakePage): void {
    const before = this.#instances.at(-1);
    if (before === undefined || !events.some((event) => before.instance.enabled.has(event))) return;
    this.#endEarlier(page);
    const others = [...before.instance.enabled].filter((event) => !events.includes(event));
    if (others.length > 0) this.#instances.push(this.#succeed(before, others));
    else {
      runOut(before, page);
      before.remove();
      this.#instances.length = 0;
    }
    this.#endEarlier(page);
  }

  record(on: boolean): void {
    for (const { instance } of this.#instances) instance.record(on);
  }

  look(nowMs: number): Disturbance | undefined {
    for (const reader of this.#instances) {
      const found = reader.look(nowMs);
      if (found) return found;
    }
    return undefined;
  }

  /** Leaves what there is to the next agent. */
  close(): void {
    for (const reader of this.#instances) reader.close();
  }

  remove(): void {
    for (const reader of this.#instances.splice(0)) reader.remove();
  }

  #make(name: string, onDemand: readonly string[]): ReadInstance {
    const settings = { ...this.#settings, name, events: [], onDemand };
    return new ReadInstance(this.#tracefs, settings, 'arguments of programs', this.#nowNs);
  }

  #succeed(before: ReadInstance, events: readonly string[]): ReadInstance {
    const name = this.#names.find((each) => !before.instance.path.endsWith(each))!;
    const next = this.#make(name, []);
    for (const event of events) {
      try {
        next.instance.switch(event, true);
      } catch {
        // Somebody removed it, which is found at the next look.
      }
    }
    return next;
  }

  /** All but the one in use. */
  #endEarlier(page: TakePage): void {
    for (const reader of this.#instances.splice(0, this.#instances.length - 1)) {
      runOut(reader, page);
      reader.remove();
    }
  }
}

/** Reads an instance until it is empty. */
export function runOut(reader: ReadInstance, page: TakePage): Read {
  let read: Read = { pages: 0, filled: 0, horizonNs: undefined };
  for (let run = 0, empty = false; run < RUNS_MAX && !empty; run += 1) {
    let horizonNs: bigint | undefined;
    const result = reader.run({
      page,
      horizon: (ns) => {
        horizonNs = ns;
      },
    });
    empty = result.empty;
    read = { pages: read.pages + result.pages, filled: Math.max(read.filled, result.filled), horizonNs };
  }
  return read;
}

/** The earlier of two horizons; undefined: there is none. */
export function earlier(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}

/** Of an instance with copies. */
export function buffersOf(bufferBytesPerCpu: number): Settings {
  return { bufferBytesPerCpu, subBufferBytes: bufferBytesPerCpu >= MiB ? 64 * KiB : 4 * KiB };
}
