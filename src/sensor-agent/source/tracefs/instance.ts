/**
 * One trace instance of ours: made, set up, read and removed. A killed agent
 * leaves its instance recording. Ours is then adopted in place, under the same
 * name: a second one would record twice what the first still records, and
 * nothing may be lost between the two. So the name carries the recorder's
 * identity only, and "is its owner alive" is asked of the kernel: whoever has
 * its files open (/proc/PID/fd) owns it, which no reused pid can fake.
 */
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { BackplaneError } from '../../../errors.js';
import { KiB } from '../../../limits.js';
import { instanceOwner } from './owner.js';

export interface InstanceSettings {
  readonly name: string;
  readonly bufferBytesPerCpu: number;
  /** Wanted; kernels before 6.8 have pages of 4 KiB whatever is asked. */
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

export class TraceInstance {
  readonly path: string;
  /** An earlier agent left it, with what it recorded since. */
  readonly adopted: boolean;
  readonly subBufferBytes: number;
  /** Events recorded; those of an adopted instance that are no longer wanted are in its pages only. */
  readonly events: readonly string[];
  readonly leftover: readonly string[];
  /** What there is of `onDemand`; what an earlier agent had switched on of it still is. */
  readonly onDemand: ReadonlySet<string>;
  readonly enabled = new Set<string>();
  readonly missing: readonly string[];
  #removed = false;

  /** Throws `failed_precondition` when a living process uses it or the kernel refuses. */
  constructor(tracefs: string, settings: InstanceSettings) {
    if (!NAME.test(settings.name)) {
      throw new BackplaneError('invalid_argument', `instance name must match ${NAME.source}, got ${settings.name}`);
    }
    this.path = join(tracefs, 'instances', settings.name);
    this.adopted = adoptable(this.path, settings.name);
    if (!this.adopted) create(this.path);
    try {
      const before = this.adopted ? enabledEvents(this.path) : [];
      if (!this.adopted) configure(this.path, settings);
      this.subBufferBytes = subBufferBytes(this.path);
      if (settings.wakeAtOnce) put(join(this.path, 'buffer_percent'), '0');
      const enabled = settings.events.filter((event) => before.includes(event) || enable(this.path, event, '1'));
      this.events = enabled;
      const onDemand = settings.onDemand?.filter((event) => !enabled.includes(event)) ?? [];
      this.onDemand = new Set(onDemand.filter((event) => existsSync(join(this.path, 'events', event, 'enable'))));
      const extra = before.filter((event) => !enabled.includes(event));
      for (const event of extra) if (this.onDemand.has(event)) this.enabled.add(event);
      this.leftover = extra.filter((event) => !this.onDemand.has(event) && enable(this.path, event, '0'));
      this.missing = settings.events.filter((event) => !enabled.includes(event));
      put(join(this.path, 'tracing_on'), '1');
    } catch (cause) {
      if (!this.adopted) this.removeSync();
      throw cause;
    }
  }

  /** One of onDemand. */
  switch(event: string, on: boolean): void {
    if (!enable(this.path, event, on ? '1' : '0')) {
      throw new BackplaneError(
        'failed_precondition',
        `${event} cannot be switched ${on ? 'on' : 'off'} in ${this.path}`,
      );
    }
    if (on) this.enabled.add(event);
    else this.enabled.delete(event);
  }

  /** What the kernel leaves out of one of onDemand; undefined: nothing. False: the kernel refuses the text, and leaves out nothing. */
  filter(event: string, text: string | undefined): boolean {
    const path = join(this.path, 'events', event, 'filter');
    try {
      put(path, text ?? '0');
      return true;
    } catch {
      // After an error the kernel holds no filter but its complaint.
      put(path, '0');
      return false;
    }
  }

  /** The CPUs that have a buffer: all that could ever come online. */
  lanes(): number[] {
    const names = readdirSync(join(this.path, 'per_cpu'));
    return names.map((name) => Number(name.slice(3))).sort((a, b) => a - b);
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
    for (const lane of this.lanes()) {
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

/** Writes one of tracefs's control files, as `echo text > path` does but never truncating. */
export function put(path: string, text: string): void {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
}

/** True when it exists and can be adopted; one that was never set up is removed. */
function adoptable(path: string, name: string): boolean {
  if (!existsSync(path)) return false;
  const owner = instanceOwner(name);
  if (owner !== undefined) {
    throw new BackplaneError(
      'failed_precondition',
      `trace instance ${name} must be free, but process ${owner} reads it`,
    );
  }
  if (/\[boot\]/.test(readFileSync(join(path, 'trace_clock'), 'utf8'))) return true;
  // Changing the clock empties the buffer: whoever made it died before it recorded.
  removeInstance(path);
  return false;
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
  // Command names are ours to keep: the kernel's cache costs every context switch.
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

/** `sched:sched_process_exec` per line. */
function enabledEvents(path: string): string[] {
  const text = readFileSync(join(path, 'set_event'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => line.replace(':', '/'));
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
