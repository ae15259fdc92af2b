/**
 * Looks up one exec in /proc at once, in a thread of the exec lane. Arguments
 * come first, as the process may live for only half a millisecond. Only facts
 * that nothing else provides are read here: parent, start and name follow from
 * what the kernel recorded of fork and rename. Imports as little as it can.
 */
import { closeSync, openSync, readlinkSync, readSync, statSync } from 'node:fs';
import { ARGUMENTS_BYTES_MAX, EVENT_STRING_BYTES_MAX } from '../../../limits.js';
import { ExecEntryWriter, type ExecEvent } from './exec-entry.js';

const AS_BYTES = { encoding: 'buffer' } as const;
const MAY_BE_GONE = { throwIfNoEntry: false } as const;

/** Has one buffer: not to be shared between threads. */
export class ExecVisitor {
  readonly #buffer = Buffer.allocUnsafeSlow(ARGUMENTS_BYTES_MAX);
  readonly #writer = new ExecEntryWriter();

  /** Writes the entry of an exec and returns its length. */
  visit(event: ExecEvent, into: Buffer): number {
    const writer = this.#writer;
    const proc = `/proc/${event.pid}`;
    writer.begin(into, event);
    this.#file(`${proc}/cmdline`, ARGUMENTS_BYTES_MAX);
    this.#link(`${proc}/exe`);
    this.#link(`${proc}/cwd`);
    this.#file(`${proc}/cgroup`, EVENT_STRING_BYTES_MAX);
    // The directory belongs to the effective user, whether or not the process may be dumped.
    const directory = statSync(proc, MAY_BE_GONE);
    if (directory !== undefined) writer.uid(directory.uid);
    return writer.end();
  }

  /** Writes the entry of an exec without looking it up; returns its length. */
  pass(event: ExecEvent, into: Buffer): number {
    const writer = this.#writer;
    writer.begin(into, event);
    for (let part = 0; part < 4; part += 1) writer.part(undefined);
    return writer.end();
  }

  #file(path: string, bytesMax: number): void {
    let fd = -1;
    try {
      fd = openSync(path, 'r');
      this.#writer.part(this.#buffer, readSync(fd, this.#buffer, 0, bytesMax, null));
    } catch {
      this.#writer.part(undefined);
    }
    if (fd >= 0) closeSync(fd);
  }

  #link(path: string): void {
    try {
      const target: Buffer = readlinkSync(path, AS_BYTES);
      this.#writer.part(target, Math.min(target.length, EVENT_STRING_BYTES_MAX));
    } catch {
      this.#writer.part(undefined);
    }
  }
}
