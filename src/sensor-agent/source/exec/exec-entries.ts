/** Execs, and the kernel's copies of what they have written, in the pages of the instance that has both. */
import { compileDecoder, type Decoder } from '../pages/decoder.js';
import { type EventFormat, eventPid } from '../pages/format.js';
import { PageEntries, scanPage, startCursor } from '../pages/page.js';
import type { SeenCopy, SeenExec } from '../probe/exec-matcher.js';
import { type ExecStack, readExecStack } from '../probe/exec-stack.js';
import { type ProbePlaces, probePlaces, STRINGS_BYTES, WORDS_BYTES } from '../probe/probe-layout.js';

const IDS = 65_536;

interface Probe {
  readonly places: ProbePlaces;
  /** `group/event`. */
  readonly event: string;
  readonly first: boolean;
}

export interface ExecEntriesSink {
  exec(exec: Omit<SeenExec, 'lane'>): void;
  /** `event`: `group/event` of the probe that made it. */
  copied(copied: SeenCopy<ExecStack>, event: string): void;
}

export class ExecEntries {
  readonly #exec: { readonly id: number; readonly decode: Decoder };
  /** By the id of its event. */
  readonly #probes = new Map<number, Probe>();
  readonly #entries = new PageEntries();
  readonly #wanted = new Uint8Array(IDS);

  /** @param exec the format of `sched_process_exec` */
  constructor(exec: EventFormat) {
    this.#exec = { id: exec.id, decode: compileDecoder(exec.fields) };
    this.#wanted[exec.id] = 1;
  }

  /** A probe's event; one of another format is left out. `first`: it is in the kernel, before the exec is noted. */
  add(event: string, format: EventFormat, first: boolean): void {
    const places = probePlaces(format);
    if (places === undefined) return;
    this.#probes.set(format.id, { places, event, first });
    this.#wanted[format.id] = 1;
  }

  remove(event: string): void {
    for (const [id, probe] of this.#probes) {
      if (probe.event !== event) continue;
      this.#probes.delete(id);
      this.#wanted[id] = 0;
    }
  }

  read(bytes: Buffer, sink: ExecEntriesSink): void {
    const entries = this.#entries;
    scanPage(bytes, this.#wanted, startCursor(), entries);
    for (let at = 0; at < entries.count; at += 1) {
      const [offset, length, timeNs] = [entries.offsets[at]!, entries.lengths[at]!, entries.timeNs(at)];
      if (entries.ids[at] === this.#exec.id) {
        const { filename, pid } = this.#exec.decode(bytes, offset, length) as { filename: string; pid: number };
        sink.exec({ timeNs, pid, filename });
        continue;
      }
      const { places, first, event } = this.#probes.get(entries.ids[at]!)!;
      if (length < Math.max(places.words + WORDS_BYTES, places.strings + STRINGS_BYTES)) continue;
      const copy = readExecStack(
        bytes.subarray(offset + places.words, offset + places.words + WORDS_BYTES),
        bytes.subarray(offset + places.strings, offset + places.strings + STRINGS_BYTES),
      );
      if (copy !== undefined) sink.copied({ timeNs, pid: eventPid(bytes, offset, length), copy, first }, event);
    }
  }
}
