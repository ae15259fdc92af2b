/** What tests against the real kernel share: whether there is one to test, and a sink that counts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { EXEC_PROBE_BUFFER_BYTES_PER_CPU } from '../../../src/limits.js';
import type { FieldValues } from '../../../src/sensor-agent/source/pages/decoder.js';
import { FormatTable } from '../../../src/sensor-agent/source/pages/format.js';
import { type LaneCursor, PageEntries, scanPage, startCursor } from '../../../src/sensor-agent/source/pages/page.js';
import type { ExecRecord, QueryRecord, SourceSink } from '../../../src/sensor-agent/source/source.js';
import { TraceClock, uptimeNow } from '../../../src/sensor-agent/source/tracefs/clock.js';
import { openTracefs } from '../../../src/sensor-agent/source/tracefs/mount.js';

/** tracefs's path, or why there is none. */
export function liveTracefs(): { path: string; skip: false } | { path: ''; skip: string } {
  try {
    return { path: openTracefs().path, skip: false };
  } catch (cause) {
    return { path: '', skip: (cause as Error).message };
  }
}

/** Why tests of probes in the kernel cannot run here, or false. */
export function cannotProbeKernel(): string | false {
  const live = liveTracefs();
  if (live.skip) return live.skip;
  return existsSync(join(live.path, 'kprobe_events')) ? false : 'this kernel has no kprobes';
}

/** Why tests of probes in programs cannot run here, or false. */
export function cannotProbePrograms(): string | false {
  const live = liveTracefs();
  if (live.skip) return live.skip;
  return existsSync(join(live.path, 'uprobe_events')) ? false : 'this kernel has no uprobes';
}

/** What an exec probe is made with, and what it tells. */
export function probeOptions(recorderId: string) {
  const seen = new Recording(() => new FormatTable([]));
  const clock = new TraceClock(uptimeNow);
  return {
    ...{ recorderId, name: `backplane-${recorderId}-exec`, seen, sink: seen, tracefs: liveTracefs().path },
    ...{ nowNs: () => clock.nowNs(), bufferBytesPerCpu: EXEC_PROBE_BUFFER_BYTES_PER_CPU },
  };
}

export interface SeenEvent {
  readonly name: string;
  readonly lane: number;
  readonly timeNs: bigint;
  readonly tie: number;
  readonly fields: FieldValues;
}

/** Decodes everything it is given. */
export class Recording implements SourceSink {
  readonly events: SeenEvent[] = [];
  readonly execs: ExecRecord[] = [];
  /** How many of them are recorded. */
  execsSettled = 0;
  readonly asked: QueryRecord[] = [];
  readonly notes: string[] = [];
  readonly horizons: bigint[] = [];
  lost = 0;
  readonly #cursors = new Map<number, LaneCursor>();
  readonly #entries = new PageEntries();
  readonly #all = new Uint8Array(65_536).fill(1);

  readonly #formats: () => FormatTable;
  readonly #strict: boolean;

  /** `strict`: nothing comes that the source has no format of. */
  constructor(formats: () => FormatTable, strict = true) {
    this.#formats = formats;
    this.#strict = strict;
  }

  page({ lane, bytes, lost }: { lane: number; bytes: Buffer; lost: number }): void {
    this.lost += lost;
    const cursor = this.#cursors.get(lane) ?? startCursor();
    this.#cursors.set(lane, cursor);
    scanPage(bytes, this.#all, cursor, this.#entries);
    if (this.#entries.malformed) throw new Error(`malformed page on lane ${lane}`);
    for (let i = 0; i < this.#entries.count; i++) {
      const format = this.#formats().byId(this.#entries.ids[i]!);
      if (format === undefined && !this.#strict) continue;
      if (format === undefined) throw new Error(`no format for event ${this.#entries.ids[i]}`);
      const fields = format.decode(bytes, this.#entries.offsets[i]!, this.#entries.lengths[i]!);
      const tie = this.#entries.ties[i]!;
      this.events.push({ name: format.name, lane, timeNs: this.#entries.timeNs(i), tie, fields });
    }
  }

  horizon(horizonNs: bigint): void {
    this.horizons.push(horizonNs);
  }

  exec(record: ExecRecord): void {
    this.execs.push(record);
  }

  settle(): void {
    this.execsSettled = this.execs.length;
  }

  queries(queries: readonly QueryRecord[]): void {
    this.asked.push(...queries);
  }

  note(reason: string): void {
    this.notes.push(reason);
  }

  named(name: string): SeenEvent[] {
    return this.events.filter((event) => event.name === name);
  }
}
