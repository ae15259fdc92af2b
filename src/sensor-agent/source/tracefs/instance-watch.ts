/**
 * Notices within two seconds that somebody changed one of our trace instances,
 * puts it back, and says from when on events may be missing: from the last look
 * at which all was right. It does not fight: whoever changes it again and again
 * has it as they want for a while, which is said too.
 *
 *   right -> (changed: restored -> right | again and again: left -> right)*
 */
import {
  INSTANCE_LEFT_MS_MAX,
  INSTANCE_LEFT_MS_MIN,
  INSTANCE_LOOK_MS,
  INSTANCE_LOOK_MS_MIN,
  INSTANCE_LOOKS_PER_THOROUGH,
  INSTANCE_RESTORES_MAX,
  INSTANCE_RESTORES_MS,
} from '../../../limits.js';
import { shownList } from '../../../text/shown.js';
import type { Disturbance } from '../source.js';
import { ControlWatch } from './control-watch.js';
import type { TraceInstance } from './instance.js';
import { type Change, InstanceControls } from './instance-controls.js';
import { openTracefs } from './mount.js';
import { put } from './put.js';

export interface WatchedInstance {
  readonly instance: TraceInstance;
  /** "the trace instance", for people. */
  readonly title: string;
  /** The events that may be missing after a change, for people. */
  readonly missing: string;
  /** Whether what may be missing is events. */
  readonly loses: boolean;
  /** Entries that our readers have taken so far. */
  entriesRead(): number;
  /** Whether this agent's readers may be taking entries at the same time. */
  readonly readsMeanwhile: boolean;
  /** The buffer was emptied: the kernel counts from 0 again. */
  onEmptied(): void;
  /** Trace clock. */
  nowNs(): bigint;
}

const SHOWN_FILES_MAX = 6;
const RESTORE_TRIES = 3;
const ECHO_MS = 2 * INSTANCE_LOOK_MS_MIN;

export class InstanceWatch {
  readonly #controls: InstanceControls;
  readonly #writes: ControlWatch;
  #lastMs = Number.NEGATIVE_INFINITY;
  #looks = 0;
  #rightNs: bigint;
  #read = { kernel: 0, ours: 0, excess: 0 };
  /** Monotonic times of the last few restorations. */
  #restoredMs: number[] = [];
  #leftMs = INSTANCE_LEFT_MS_MIN;
  #leftUntilMs = 0;
  /** Set while the instance is left as somebody else wants it, with the time since when. */
  #left: { readonly fromNs: bigint } | undefined;
  /** Changes made while no agent was there. */
  #meanwhile: readonly string[];

  readonly #watched: WatchedInstance;

  constructor(watched: WatchedInstance) {
    this.#watched = watched;
    const { instance } = watched;
    this.#writes = new ControlWatch(instance.path);
    this.#controls = new InstanceControls(instance);
    this.#meanwhile = [...instance.changedMeanwhile, ...this.#controls.found.map(({ file }) => file)];
    instance.onWrite = (file) => this.#writes.owns(file);
    this.#watchFolders();
    // Writes a file to learn whether the kernel reports writes.
    this.#writes.owns('tracing_on');
    put(`${instance.path}/tracing_on`, '1');
    this.#rightNs = watched.nowNs();
    this.#countAnew();
  }

  /** Called after every drain; mostly there is nothing to do. `nowMs` is monotonic. */
  look(nowMs: number): Disturbance | undefined {
    const sinceMs = nowMs - this.#lastMs;
    if (sinceMs < INSTANCE_LOOK_MS && !(this.#writes.heard && sinceMs >= INSTANCE_LOOK_MS_MIN)) return undefined;
    this.#lastMs = nowMs;
    return this.#meanwhile.length > 0 ? this.#sayMeanwhile() : this.#review(nowMs);
  }

  /** The agent itself did what empties the buffer. */
  emptiedByUs(): void {
    this.#countAnew();
  }

  close(): void {
    this.#writes.close();
  }

  #sayMeanwhile(): Disturbance {
    const what = `${listed(this.#meanwhile)} of ${this.#title()} was changed while no agent was there`;
    this.#meanwhile = [];
    return this.#disturbance(
      'restored',
      undefined,
      `${what}: restored; ${this.#watched.missing} of that time may be missing`,
    );
  }

  #review(nowMs: number): Disturbance | undefined {
    const heard = this.#writes.take();
    // Writes from before a restoration may be reported after it, so they are ignored for a while.
    const written = nowMs - (this.#restoredMs.at(-1) ?? Number.NEGATIVE_INFINITY) < ECHO_MS ? [] : heard;
    const read = this.#readings();
    // A short look may miss the change with which the instance was left, so the look is thorough.
    const turn = this.#looks++ % INSTANCE_LOOKS_PER_THOROUGH === 0 || this.#left !== undefined;
    const found = this.#found(turn || !this.#writes.serves || heard.length + read.length > 0);
    if (found?.length === 0 && written.length + read.length === 0) return this.#right();
    const what = found === undefined ? `${this.#title()} is not there` : this.#described(found, written, read);
    if (nowMs < this.#leftUntilMs) return this.#leave(what, '');
    if (found !== undefined && this.#restore(found)) return this.#restored(what, found, nowMs);
    this.#leftUntilMs = nowMs + INSTANCE_LEFT_MS_MIN;
    return this.#leave(what, 'it cannot be restored');
  }

  /** The changes found; undefined when the instance is gone and mounting tracefs does not bring it back. */
  #found(thorough: boolean): readonly Change[] | undefined {
    try {
      return this.#controls.look(thorough);
    } catch {
      // Somebody unmounted tracefs; the instance lives on, as its buffers are open.
    }
    try {
      const { mounted } = openTracefs();
      const changes = this.#controls.look(true);
      return mounted
        ? [{ file: 'tracefs', reads: 'unmounted', loses: false, restore: () => undefined }, ...changes]
        : changes;
    } catch {
      return undefined;
    }
  }

  #right(): Disturbance | undefined {
    const left = this.#left;
    this.#rightNs = this.#watched.nowNs();
    this.#watchFolders();
    if (!left) return undefined;
    this.#left = undefined;
    return this.#disturbance('over', left.fromNs, `${this.#title()} is as it should be again`);
  }

  /** Restores the changes; false when some of them are not right even then. */
  #restore(changes: readonly Change[]): boolean {
    let wrong: readonly Change[] | undefined = changes;
    // A trigger that was removed may still be at work on another CPU, and change something once more.
    for (let tries = 0; tries < RESTORE_TRIES && wrong !== undefined && wrong.length > 0; tries += 1) {
      for (const change of wrong) {
        this.#writes.owns(change.file);
        try {
          change.restore();
        } catch {
          // The next look finds a change that could not be restored.
        }
      }
      wrong = this.#found(true);
    }
    return wrong?.length === 0;
  }

  #restored(what: string, changes: readonly Change[], nowMs: number): Disturbance {
    const fromNs = this.#left?.fromNs ?? this.#rightNs;
    const wasLeft = this.#left !== undefined;
    this.#left = undefined;
    this.#rightNs = this.#watched.nowNs();
    this.#countAnew();
    this.#restoredMs = [...this.#restoredMs.filter((atMs) => nowMs - atMs < INSTANCE_RESTORES_MS), nowMs];
    const loses = changes.length === 0 || changes.some((change) => change.loses);
    const told = `${what}: restored; ${this.#watched.missing} may be missing from the last look before it`;
    if (this.#restoredMs.length < INSTANCE_RESTORES_MAX) {
      if (this.#restoredMs.length === 1) this.#leftMs = INSTANCE_LEFT_MS_MIN;
      return this.#disturbance(wasLeft ? 'over' : 'restored', fromNs, told, loses);
    }
    this.#leftUntilMs = nowMs + this.#leftMs;
    const seconds = this.#leftMs / 1000;
    this.#leftMs = Math.min(2 * this.#leftMs, INSTANCE_LEFT_MS_MAX);
    const again = `changed ${INSTANCE_RESTORES_MAX} times within a minute: whoever does it again has it so for ${seconds} s`;
    return this.#disturbance(wasLeft ? 'over' : 'restored', fromNs, `${told}; ${again}`, loses);
  }

  /** Leaves the instance as it is; told once, until all is right again. */
  #leave(what: string, why: string): Disturbance | undefined {
    this.#countAnew();
    if (this.#left) return undefined;
    this.#left = { fromNs: this.#rightNs };
    const cause = why === '' ? 'again, it is left so for a while' : why;
    return this.#disturbance('left', this.#rightNs, `${what}: ${cause}; ${this.#watched.missing} are missing`);
  }

  /** States whether somebody else read entries or emptied the buffer. */
  #readings(): string[] {
    const watched = this.#watched;
    const ours = watched.entriesRead();
    const kernel = this.#kernelRead();
    if (kernel === undefined) return [];
    const excess = kernel - this.#read.kernel - (ours - this.#read.ours);
    const stolen = watched.readsMeanwhile ? Math.min(excess, this.#read.excess) : excess;
    this.#read.excess = excess;
    if (excess < 0) return ['its buffer was emptied'];
    if (stolen <= 0) return [];
    return [`${stolen} of its events were taken by another reader`];
  }

  #countAnew(): void {
    const kernel = this.#kernelRead();
    if (kernel === undefined) return;
    if (kernel < this.#read.kernel) this.#watched.onEmptied();
    this.#read = { kernel, ours: this.#watched.entriesRead(), excess: 0 };
  }

  /** Entries that the kernel says were read; undefined when the instance is gone. */
  #kernelRead(): number | undefined {
    try {
      return this.#watched.instance.eventsRead();
    } catch {
      return undefined;
    }
  }

  #described(changes: readonly Change[], written: readonly string[], read: readonly string[]): string {
    const files = changes.map(({ file, reads }) => `${file} (read "${reads}")`);
    // Files that others wrote and that read right again: undone before the look, or written with the same text.
    const others = written.filter((file) => !changes.some((change) => change.file === file));
    const parts = [
      ...(files.length > 0 ? [`somebody changed ${listed(files)}`] : []),
      ...(files.length === 0 && others.length > 0 ? [`somebody wrote to ${listed(others)}`] : []),
      ...read,
    ];
    return `${parts.join(', ')} of ${this.#title()}`;
  }

  #disturbance(state: Disturbance['state'], fromNs: bigint | undefined, message: string, loses = true): Disturbance {
    const entriesTaken = this.#watched.loses ? this.#kernelRead() : undefined;
    return { state, fromNs, message, loses: loses && this.#watched.loses, entriesTaken };
  }

  #title(): string {
    const { instance, title } = this.#watched;
    return `${title} ${instance.path.split('/').at(-1)}`;
  }

  #watchFolders(): void {
    const { instance } = this.#watched;
    const events = [...instance.wantedEvents()];
    const groups = new Set(events.map((event) => `events/${event.split('/')[0]}`));
    this.#writes.watch([
      '.',
      'options',
      'events',
      ...groups,
      ...events.map((event) => `events/${event}`),
      ...instance.lanes.map((lane) => `per_cpu/cpu${lane}`),
    ]);
  }
}

function listed(files: readonly string[]): string {
  return shownList([...new Set(files)], SHOWN_FILES_MAX);
}
