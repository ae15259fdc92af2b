/**
 * Makes, sets up, reads and removes one trace instance of this agent. A killed
 * agent leaves its instance recording. The next agent adopts it in place, under
 * the same name: a second instance would record twice what the first still
 * records, and nothing may be lost between the two. So the name carries the
 * recorder's identity only, and the kernel tells whether its owner is alive:
 * the process that has its files open (/proc/PID/fd) owns it, which no reused
 * pid can fake.
 */
import { constants, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { BackplaneError } from '../../../errors.js';
import { KiB } from '../../../limits.js';
import { enabledEvents, type WantedControls } from './instance-controls.js';
import { instanceOwner } from './owner.js';
import { put } from './put.js';

export interface InstanceSettings {
  readonly name: string;
  readonly bufferBytesPerCpu: number;
  /** The wanted size; kernels before 6.8 have pages of 4 KiB whatever is asked for. */
  readonly subBufferBytes: number;
  /** `group/event`. Those that the kernel lacks are in `missing`. */
  readonly events: readonly string[];
  /** `group/event`, to be recorded only on demand. Not those of `events`. */
  readonly onDemand?: readonly string[];
  /** Wake a blocked reader at the first event instead of at half a buffer. */
  readonly wakeAtOnce?: boolean;
}

export interface InstanceStats {
  readonly entries: number;
  readonly overrun: number;
  readonly dropped: number;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,119}$/;
/** rmdir fails while a reader is on its way out; it is gone within a moment. */
const REMOVE_TRIES = 50;

export class TraceInstance implements WantedControls {
  readonly path: string;
  /** Whether an earlier agent left the instance, with the events recorded since. */
  readonly adopted: boolean;
  readonly subBufferBytes: number;
  readonly #bufferBytesPerCpu: number;
  /** Events recorded; those of an adopted instance that are no longer wanted are in its pages only. */
  readonly events: readonly string[];
  readonly leftover: readonly string[];
  /** The events of `onDemand` that the kernel has; those that an earlier agent had switched on still are. */
  readonly onDemand: ReadonlySet<string>;
  readonly enabled = new Set<string>();
  readonly missing: readonly string[];
  readonly wakeAtOnce: boolean;
  /** Changes made while no agent was there, where that is certain. */
  readonly changedMeanwhile: readonly string[];
  /** Called with each control file, from the instance's folder, before it is written. */
  onWrite: (file: string) => void = () => undefined;
  #lanes: readonly number[] | undefined;
  readonly #filters = new Map<string, string>();
  #removed = false;

  /** Throws `failed_precondition` when a living process uses it or the kernel refuses. */
  constructor(tracefs: string, settings: InstanceSettings) {
    if (!NAME.test(settings.name)) {
      throw new BackplaneError('invalid_argument', `instance name must match ${NAME.source}, got ${settings.name}`);
    }
    this.path = join(tracefs, 'instances', settings.name);
    this.wakeAtOnce = settings.wakeAtOnce ?? false;
    this.#bufferBytesPerCpu = settings.bufferBytesPerCpu;
    const left = leftover(this.path, settings.name);
    this.adopted = left.adoptable;
    this.changedMeanwhile = left.changed;
    if (!this.adopted) create(this.path);
    try {
      const before = this.adopted ? enabledEvents(this.path) : [];
      if (!this.adopted) configure(this.path, settings);
      else growBuffer(this.path, settings.bufferBytesPerCpu);
      this.subBufferBytes = subBufferBytes(this.path);
      if (settings.wakeAtOnce) put(join(this.path, 'buffer_percent'), '0');
      const enabled = settings.events.filter((event) => before.includes(event) || enable(this.path, event, '1'));
      this.events = enabled;
      const onDemand = settings.onDemand?.filter((event) => !enabled.includes(event)) ?? [];
      this.onDemand = new Set(onDemand.filter((event) => existsSync(join(this.path, 'events', event, 'enable'))));
      const extra = before.filter((event) => !enabled.includes(event));
      for (const event of extra) {
        if (!this.onDemand.has(event)) continue;
        this.enabled.add(event);
        this.#filters.set(event, readFileSync(join(this.path, 'events', event, 'filter'), 'utf8').trim());
      }
      this.leftover = extra.filter((event) => !this.onDemand.has(event) && enable(this.path, event, '0'));
      this.missing = settings.events.filter((event) => !enabled.includes(event));
      put(join(this.path, 'tracing_on'), '1');
    } catch (cause) {
      if (!this.adopted) this.removeSync();
      throw cause;
    }
  }

  /** Switches an event on or off, of onDemand or one that was defined since. */
  switch(event: string, on: boolean): void {
    this.onWrite(join('events', event, 'enable'));
    if (!enable(this.path, event, on ? '1' : '0')) {
      throw new BackplaneError(
        'failed_precondition',
        `${event} cannot be switched ${on ? 'on' : 'off'} in ${this.path}`,
      );
    }
    if (on) this.enabled.add(event);
    else this.enabled.delete(event);
  }

  /** Stops and goes on recording, whatever is switched on. */
  record(on: boolean): void {
    this.onWrite('tracing_on');
    put(join(this.path, 'tracing_on'), on ? '1' : '0');
  }

  /**
   * Sets the kernel's filter of one of onDemand; undefined: no filter. False: the kernel refuses the text and filters
   * nothing.
   */
  filter(event: string, text: string | undefined): boolean {
    const file = join('events', event, 'filter');
    const path = join(this.path, file);
    this.onWrite(file);
    try {
      put(path, text ?? '0');
      return true;
    } catch {
      // After an error the kernel holds no filter but its complaint.
      this.onWrite(file);
      put(path, '0');
      return false;
    } finally {
      this.#filters.set(event, readFileSync(path, 'utf8').trim());
    }
  }

  /** False when somebody has set another trace clock. */
  get ownClock(): boolean {
    try {
      return isBootClock(this.path);
    } catch {
      return false;
    }
  }

  wantedEvents(): ReadonlySet<string> {
    return new Set([...this.events, ...this.enabled]);
  }

  wantedFilter(event: string): string {
    return this.#filters.get(event) ?? 'none';
  }

  /** Events that readers have taken, all CPUs together; less than before where the buffer was emptied. */
  eventsRead(): number {
    return this.lanes.reduce((sum, lane) => sum + count(readFileSync(this.statsPath(lane), 'utf8'), 'read events'), 0);
  }

  /** Sizes of one CPU's, as a drain wants them. */
  get buffers(): { readonly pageBytes: number; readonly bufferBytes: number } {
    return { pageBytes: this.subBufferBytes, bufferBytes: this.#bufferBytesPerCpu };
  }

  /** The CPUs that have a buffer: all that could ever come online. */
  get lanes(): readonly number[] {
    this.#lanes ??= readdirSync(join(this.path, 'per_cpu'))
      .map((name) => Number(name.slice(3)))
      .sort((a, b) => a - b);
    return this.#lanes;
  }

  /** Opens a CPU's pages for reading without blocking. */
  openPages(lane: number): number {
    return openSync(this.pagesPath(lane), constants.O_RDONLY | constants.O_NONBLOCK);
  }

  pagesPath(lane: number): string {
    return join(this.path, 'per_cpu', `cpu${lane}`, 'trace_pipe_raw');
  }

  formatText(event: string): string {
    return readFileSync(join(this.path, 'events', event, 'format'), 'utf8');
  }

  /** The kernel's own counts, over all CPUs. */
  stats(): InstanceStats {
    const total = { entries: 0, overrun: 0, dropped: 0 };
    for (const lane of this.lanes) {
      const { entries, overrun, dropped } = this.laneStats(lane);
      total.entries += entries;
      total.overrun += overrun;
      total.dropped += dropped;
    }
    return total;
  }

  laneStats(lane: number): InstanceStats {
    const text = readFileSync(this.statsPath(lane), 'utf8');
    return {
      entries: count(text, 'entries'),
      overrun: count(text, 'overrun'),
      dropped: count(text, 'dropped events'),
    };
  }

  statsPath(lane: number): string {
    return join(this.path, 'per_cpu', `cpu${lane}`, 'stats');
  }

  /** Removes the instance; its files must be closed. Idempotent, also safe in a process's last moments. */
  removeSync(): void {
    if (this.#removed) return;
    this.#removed = true;
    removeInstance(this.path);
  }
}

/** Removes an instance; false when it is in use (or never was). */
export function removeInstance(path: string): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < REMOVE_TRIES; attempt++) {
    try {
      rmdirSync(path);
      return true;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EBUSY') return false;
      Atomics.wait(pause, 0, 0, 2);
    }
  }
  return false;
}

/**
 * Whether an instance exists that can be adopted, and what was changed of it since its agent died; any other is
 * removed.
 */
function leftover(path: string, name: string): { readonly adoptable: boolean; readonly changed: readonly string[] } {
  if (!existsSync(path)) return { adoptable: false, changed: [] };
  const owner = instanceOwner(name);
  if (owner !== undefined) {
    throw new BackplaneError(
      'failed_precondition',
      `trace instance ${name} must be free, but process ${owner} reads it`,
    );
  }
  const events = enabledEvents(path);
  if (isBootClock(path)) {
    const off = readFileSync(join(path, 'tracing_on'), 'utf8').trim() !== '1';
    return {
      adoptable: true,
      changed: [...(off ? ['tracing_on'] : []), ...(events.length === 0 ? ['set_event'] : [])],
    };
  }
  // Changing the clock empties the buffer: whoever made it died before it recorded, or somebody changed it since.
  removeInstance(path);
  return { adoptable: false, changed: events.length === 0 ? [] : ['trace_clock'] };
}

function isBootClock(path: string): boolean {
  return /\[boot\]/.test(readFileSync(join(path, 'trace_clock'), 'utf8'));
}

/** Grows the buffer, which somebody may have shrunk since an earlier agent. Growing keeps its contents. */
function growBuffer(path: string, bytesPerCpu: number): void {
  const kilobytes = Math.ceil(bytesPerCpu / KiB);
  const file = join(path, 'buffer_size_kb');
  // "X" where CPUs differ.
  if (!(Number.parseInt(readFileSync(file, 'utf8'), 10) >= kilobytes)) put(file, String(kilobytes));
}

function create(path: string): void {
  try {
    mkdirSync(path);
  } catch (cause) {
    throw new BackplaneError(
      'failed_precondition',
      `trace instance ${path} must be creatable: ${(cause as Error).message}`,
    );
  }
}

function configure(path: string, settings: InstanceSettings): void {
  put(join(path, 'tracing_on'), '0');
  const kilobytes = settings.subBufferBytes / KiB;
  if (kilobytes !== 4 && existsSync(join(path, 'buffer_subbuf_size_kb'))) {
    put(join(path, 'buffer_subbuf_size_kb'), String(kilobytes));
  }
  put(join(path, 'buffer_size_kb'), String(Math.ceil(settings.bufferBytesPerCpu / KiB)));
  // The agent keeps command names itself: the kernel's cache of them costs every context switch.
  put(join(path, 'trace_options'), 'norecord-cmd');
  // Last, because it marks the set-up as complete (see adoptable).
  put(join(path, 'trace_clock'), 'boot');
}

function subBufferBytes(path: string): number {
  try {
    return Number(readFileSync(join(path, 'buffer_subbuf_size_kb'), 'utf8')) * KiB;
  } catch {
    // Before 6.8 a sub-buffer is a page of memory, and this file says how long its data is.
    const header = readFileSync(join(path, '..', '..', 'events', 'header_page'), 'utf8');
    const data = /char data;\s*offset:(\d+);\s*size:(\d+);/.exec(header);
    return data === null ? 4 * KiB : Number(data[1]) + Number(data[2]);
  }
}

function enable(path: string, event: string, value: '0' | '1'): boolean {
  try {
    put(join(path, 'events', event, 'enable'), value);
    return true;
  } catch {
    return false;
  }
}

function count(stats: string, name: string): number {
  return Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(stats)?.[1] ?? 0);
}
