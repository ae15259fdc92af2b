/** Somebody else's tracing on the machine: probes, an instance, an event of the global tracer; and how all of it reads. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { atName } from '../../../src/sensor-agent/source/places.js';
import { define, undefineAll } from '../../../src/sensor-agent/source/probe/definitions.js';
import { readExecutable } from '../../../src/sensor-agent/source/probe/elf.js';
import { put } from '../../../src/sensor-agent/source/tracefs/put.js';

/** Comes from nobody: real-time signals that no program uses. */
const GLOBAL = { event: 'signal/signal_deliver', filter: 'sig == 63' };
const CONTROLS = [
  ...['tracing_on', 'buffer_size_kb', 'buffer_subbuf_size_kb', 'buffer_percent', 'trace_clock', 'current_tracer'],
  ...['trace_options', 'set_event_pid', 'set_event_notrace_pid', 'tracing_cpumask'],
];

export class OtherTool {
  readonly group: string;
  readonly #tracefs: string;
  readonly #instance: string;
  readonly #events: readonly string[];
  readonly #mark: string;

  /** @param name of A-Z a-z 0-9 _, which nobody else has */
  constructor(tracefs: string, name: string) {
    this.#tracefs = tracefs;
    this.group = name;
    this.#mark = `${name} was here`;
    this.#instance = join(tracefs, 'instances', name);
    // In the place that our own probe has, and elsewhere.
    define(tracefs, `${name}/starts`, linkerPlace(), 'argc=+0(%sp):u64');
    define(tracefs, `${name}/elsewhere`, `${process.execPath}:0x1000`, 'a=%sp:u64');
    // One that is on nowhere may be removed by anybody.
    define(tracefs, `${name}/off`, `${process.execPath}:0x1000`, 'a=%sp:u64');
    mkdirSync(this.#instance);
    put(join(this.#instance, 'buffer_size_kb'), '128');
    put(join(this.#instance, 'trace_clock'), 'mono');
    put(join(this.#instance, 'options/overwrite'), '0');
    const events = {
      [`${name}/starts`]: 'argc == 99999',
      [`${name}/elsewhere`]: 'a == 99999',
      'sched/sched_process_exec': 'pid == 1',
      'signal/signal_generate': 'sig == 63',
    };
    this.#events = Object.keys(events);
    for (const [event, filter] of Object.entries(events)) switchOn(this.#instance, event, filter);
    put(join(this.#instance, 'trace_marker'), this.#mark);
    switchOn(tracefs, GLOBAL.event, GLOBAL.filter);
  }

  /** By file, what it reads: its definitions, its instance's control files and what was recorded, the global tracer's. */
  read(): ReadonlyMap<string, string> {
    const files = new Map<string, string>();
    const add = (folder: string, file: string) =>
      files.set(join(folder, file), readFileSync(join(folder, file), 'utf8'));
    for (const file of ['dynamic_events', 'uprobe_events']) {
      const lines = readFileSync(join(this.#tracefs, file), 'utf8').split('\n');
      files.set(file, lines.filter((line) => line.includes(`:${this.group}/`)).join('\n'));
    }
    for (const folder of [this.#instance, this.#tracefs]) for (const file of CONTROLS) add(folder, file);
    for (const cpu of readdirSync(join(this.#instance, 'per_cpu')))
      add(this.#instance, `per_cpu/${cpu}/buffer_size_kb`);
    add(this.#instance, 'set_event');
    for (const event of this.#events) this.#addEvent(add, this.#instance, event);
    this.#addEvent(add, this.#tracefs, GLOBAL.event);
    const recorded = readFileSync(join(this.#instance, 'trace'), 'utf8');
    files.set(
      'recorded',
      recorded
        .split('\n')
        .filter((line) => line.includes(this.#mark))
        .join('\n'),
    );
    return files;
  }

  #addEvent(add: (folder: string, file: string) => unknown, folder: string, event: string): void {
    for (const file of ['enable', 'filter', 'trigger', 'format']) add(folder, join('events', event, file));
  }

  /** Puts everything back. */
  remove(): void {
    put(join(this.#tracefs, 'events', GLOBAL.event, 'enable'), '0');
    put(join(this.#tracefs, 'events', GLOBAL.event, 'filter'), '0');
    rmdirSync(this.#instance);
    undefineAll(this.#tracefs, this.group);
  }
}

/** `PATH:0xOFFSET` of the first instruction of this very program's dynamic linker. */
export function linkerPlace(): string {
  const linker = readFileSync('/proc/self/maps', 'utf8').match(/\/\S*\/ld-linux\S*|\/\S*\/ld-musl\S*/)![0];
  const entryOffset = atName(process.pid, linker, (place) => readExecutable(place)!.entryOffset);
  return `${linker}:0x${entryOffset!.toString(16)}`;
}

function switchOn(folder: string, event: string, filter: string): void {
  put(join(folder, 'events', event, 'filter'), filter);
  put(join(folder, 'events', event, 'enable'), '1');
}
