/**
 * Compares each control file of a trace instance with how it should read, and
 * restores it: anybody who may write to tracefs can change them. The instance
 * decides which events are on and how they are filtered.
 */
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { put } from './put.js';

/** How an instance should be at this moment. */
export interface WantedControls {
  readonly path: string;
  readonly lanes: readonly number[];
  readonly wakeAtOnce: boolean;
  /** `group/event` that are on. */
  wantedEvents(): ReadonlySet<string>;
  /** The text that the event's filter file should have. */
  wantedFilter(event: string): string;
}

export interface Change {
  /** The control file, from the instance's folder. */
  readonly file: string;
  /** The text that the file had. */
  readonly reads: string;
  /** Whether events may be missing because of it. */
  readonly loses: boolean;
  /** Throws what the kernel says. */
  restore(): void;
}

interface Control {
  readonly file: string;
  readonly loses?: false;
  right(text: string): boolean;
  restore(): void;
}

/** Options that decide what is recorded; all others only change how text looks. */
const OPTIONS = ['overwrite', 'norecord-cmd', 'norecord-tgid', 'nopause-on-trace', 'noevent-fork', 'nodisable_on_free'];
const SHOWN_CHARACTERS = 40;

export class InstanceControls {
  /** Changes found and restored at first: somebody made them while no agent was there. */
  readonly found: readonly Change[];
  #settings: Control[];

  readonly #wanted: WantedControls;

  /** Takes the files' present texts as right where it is not known how they should read. */
  constructor(wanted: WantedControls) {
    this.#wanted = wanted;
    // Settings that empty the buffer come first; recording goes on only when all others are right.
    this.#settings = [
      this.#as('trace_clock', '[boot]'),
      this.#unchanged('buffer_subbuf_size_kb'),
      this.#unchanged('buffer_size_kb'),
      ...(wanted.wakeAtOnce ? [{ ...this.#unchanged('buffer_percent'), loses: false as const }] : []),
      this.#as('current_tracer', 'nop'),
      ...OPTIONS.map((option) => this.#option(option)),
      this.#empty('set_event_pid'),
      this.#empty('set_event_notrace_pid'),
      this.#cpus(),
      this.#as('tracing_on', '1'),
    ];
    this.found = this.look(true);
    for (const change of this.found) attempt(() => change.restore());
    // Another kernel may lack a file or write it differently: a setting that cannot be restored is not looked at.
    const unknown = new Set(this.#wrongSettings().map(({ file }) => file));
    this.#settings = this.#settings.filter(({ file }) => !unknown.has(file));
  }

  /**
   * The changes, in the order in which to restore them. Not thorough: only the two most telling files. Throws ENOENT
   * without the instance.
   */
  look(thorough: boolean): Change[] {
    const on = readFileSync(join(this.#wanted.path, 'tracing_on'), 'utf8').trim() === '1';
    const enabled = new Set(enabledEvents(this.#wanted.path));
    const wanted = this.#wanted.wantedEvents();
    if (!thorough && on && enabled.size === wanted.size && [...enabled].every((event) => wanted.has(event))) return [];
    const strays = [...enabled].filter((event) => !wanted.has(event)).map((event) => this.#stray(event));
    const events = [...strays, ...[...this.#wanted.wantedEvents()].flatMap((event) => this.#event(event))];
    const settings = this.#wrongSettings();
    return [...settings.slice(0, -1), ...events, ...settings.slice(-1)];
  }

  #wrongSettings(): Change[] {
    return this.#settings.flatMap((control) => this.#compared(control));
  }

  #compared(control: Control): Change[] {
    const reads = this.#read(control.file);
    if (control.right(reads)) return [];
    const shown = reads.trim().slice(0, SHOWN_CHARACTERS);
    return [{ file: control.file, reads: shown, loses: control.loses ?? true, restore: () => control.restore() }];
  }

  #event(event: string): Change[] {
    const dir = join('events', event);
    const enable: Control = {
      file: join(dir, 'enable'),
      // "1*" and "0*": a trigger switches it on and off.
      right: (text) => text.trim() === '1',
      restore: () => this.#put(join(dir, 'enable'), '1'),
    };
    const filter: Control = {
      file: join(dir, 'filter'),
      right: (text) => text.trim() === this.#wanted.wantedFilter(event),
      restore: () => {
        const text = this.#wanted.wantedFilter(event);
        this.#put(join(dir, 'filter'), text === 'none' ? '0' : text);
      },
    };
    const trigger: Control = {
      file: join(dir, 'trigger'),
      right: (text) => triggersOf(text).length === 0,
      restore: () => this.#removeTriggers(join(dir, 'trigger')),
    };
    return [trigger, filter, enable].flatMap((control) => this.#compared(control));
  }

  /** An event that this agent did not ask for: somebody else switched it on, maybe to trigger something. */
  #stray(event: string): Change {
    return {
      file: join('events', event, 'enable'),
      reads: '1',
      // The event may have triggers that switch this agent's events off.
      loses: true,
      restore: () => {
        this.#removeTriggers(join('events', event, 'trigger'));
        this.#put(join('events', event, 'enable'), '0');
      },
    };
  }

  #as(file: string, text: string): Control {
    const value = text.replace(/[[\]]/g, '');
    return {
      file,
      right: (reads) => reads.trim().split(/\s+/).includes(text),
      restore: () => this.#put(file, value),
    };
  }

  #unchanged(file: string): Control {
    const before = this.#read(file).trim();
    return { file, right: (reads) => reads.trim() === before, restore: () => this.#put(file, before) };
  }

  #option(option: string): Control {
    const other = option.startsWith('no') ? option.slice(2) : `no${option}`;
    return {
      file: 'trace_options',
      right: (reads) => !reads.split('\n').includes(other),
      restore: () => this.#put('trace_options', option),
    };
  }

  #empty(file: string): Control {
    return { file, right: (reads) => !/\d/.test(reads), restore: () => this.#clear(file) };
  }

  #cpus(): Control {
    const file = 'tracing_cpumask';
    const wanted = this.#wanted.lanes.reduce((mask, lane) => mask | (1n << BigInt(lane)), 0n);
    return {
      file,
      right: (reads) => (BigInt(`0x${reads.trim().replaceAll(',', '') || '0'}`) & wanted) === wanted,
      restore: () => this.#put(file, grouped(wanted.toString(16))),
    };
  }

  #read(file: string): string {
    try {
      return readFileSync(join(this.#wanted.path, file), 'utf8');
    } catch {
      return '';
    }
  }

  #put(file: string, text: string): void {
    put(join(this.#wanted.path, file), text);
  }

  /** Removes triggers one by one: truncation clears only histograms. Some kernels accept only the name alone. */
  #removeTriggers(file: string): void {
    for (const trigger of triggersOf(this.#read(file))) {
      const bare = trigger.replace(/ if .*$/, '').replace(/:(unlimited|count=\d+)$/, '');
      if (!works(() => this.#put(file, `!${trigger}`))) attempt(() => this.#put(file, `!${bare}`));
    }
    this.#clear(file);
  }

  /** Truncates the file, as `> file` does. */
  #clear(file: string): void {
    closeSync(openSync(join(this.#wanted.path, file), constants.O_WRONLY | constants.O_TRUNC));
  }
}

/** `group/event` of all that are on. */
export function enabledEvents(path: string): string[] {
  const text = readFileSync(join(path, 'set_event'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => line.replace(':', '/'));
}

/** The kernel takes masks in groups of 32 bits. */
function grouped(hex: string): string {
  return hex.replace(/\B(?=(.{8})+$)/g, ',');
}

function triggersOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

/** Ignores failures: the next look finds what is still wrong. */
function attempt(act: () => void): void {
  works(act);
}

/** Whether `act` succeeds without throwing. */
export function works(act: () => void): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
