/**
 * Looks up one exec in /proc, in a thread of the exec lane at once. Arguments
 * come first, as the process may live for only half a millisecond. Only facts
 * that nothing else provides are read here: start and name follow from what the
 * kernel recorded of fork and rename, and the parent, unless that has ended.
 * Imports as little as it can.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { ARGUMENTS_BYTES_MAX, EVENT_STRING_BYTES_MAX } from '../../../limits.js';
import { readProcLink } from '../proc-link.js';
import { ExecEntryWriter, type ExecEvent } from './exec-entry.js';

/** Of `stat`: up to the terminal, and some more. */
const STAT_BYTES = 96;
const LOGIN_UID_BYTES = 16;
const MAY_BE_GONE = { throwIfNoEntry: false } as const;

/** Reads it into a buffer of ARGUMENTS_BYTES_MAX; returns the bytes. */
type ReadCommandLine = (pid: number, into: Buffer) => number | undefined;

/** Has one buffer: not to be shared between threads. */
export class ExecVisitor {
  readonly #buffer = Buffer.allocUnsafeSlow(ARGUMENTS_BYTES_MAX);
  readonly #writer = new ExecEntryWriter();
  readonly #readCommandLine: ReadCommandLine;

  /** By default it is read by the calling thread, which a process can keep waiting: command-lines.ts. */
  constructor(readCommandLine?: ReadCommandLine) {
    this.#readCommandLine = readCommandLine ?? ((pid) => this.#read(`/proc/${pid}/cmdline`, ARGUMENTS_BYTES_MAX));
  }

  /** Writes the entry of an exec and returns its length. */
  visit(event: ExecEvent, into: Buffer): number {
    const writer = this.#writer;
    const proc = `/proc/${event.pid}`;
    writer.begin(into, event);
    const cmdline = this.commandLine(event.pid);
    writer.part(cmdline);
    if (this.#link(event.pid, 'exe')) writer.deleted();
    this.#link(event.pid, 'cwd');
    this.#file(`${proc}/cgroup`, EVENT_STRING_BYTES_MAX);
    // The directory belongs to the effective user, whether or not the process may be dumped.
    const directory = statSync(proc, MAY_BE_GONE);
    if (directory !== undefined) writer.uid(directory.uid);
    this.#stat(`${proc}/stat`);
    this.#loginUid(`${proc}/loginuid`);
    return writer.end();
  }

  /** Writes the entry of an exec without looking it up; returns its length. */
  pass(event: ExecEvent, into: Buffer): number {
    const writer = this.#writer;
    writer.begin(into, event);
    for (let part = 0; part < 4; part += 1) writer.part(undefined);
    return writer.end();
  }

  /** What `cmdline` has of a process now, a view that is good until the next look; undefined when it is gone. */
  commandLine(pid: number): Buffer | undefined {
    const length = this.#readCommandLine(pid, this.#buffer);
    return length === undefined ? undefined : this.#buffer.subarray(0, length);
  }

  #file(path: string, bytesMax: number): void {
    const length = this.#read(path, bytesMax);
    this.#writer.part(length === undefined ? undefined : this.#buffer, length);
  }

  /** Reads a file's beginning into the buffer; undefined when it is gone. */
  #read(path: string, bytesMax: number): number | undefined {
    let fd = -1;
    let length: number | undefined;
    try {
      fd = openSync(path, 'r');
      length = readSync(fd, this.#buffer, 0, bytesMax, null);
    } catch {
      // The process has ended.
    }
    if (fd >= 0) closeSync(fd);
    return length;
  }

  /** Whether nothing leads there any more. */
  #link(pid: number, name: 'exe' | 'cwd'): boolean {
    const link = readProcLink(pid, name);
    this.#writer.part(link?.target, Math.min(link?.target.length ?? 0, EVENT_STRING_BYTES_MAX));
    return link?.deleted === true;
  }

  /** `pid (comm) state ppid pgrp session tty_nr …`, where comm may hold anything but has at most 15 bytes. */
  #stat(path: string): void {
    const text = this.#buffer.toString('latin1', 0, this.#read(path, STAT_BYTES) ?? 0);
    const found = /^\) \S (\d+) -?\d+ -?\d+ (-?\d+) /.exec(text.slice(text.lastIndexOf(')')));
    if (!found) return;
    this.#writer.parentPid(Number(found[1]));
    this.#writer.tty(Number(found[2]) >>> 0);
  }

  #loginUid(path: string): void {
    const text = this.#buffer.toString('latin1', 0, this.#read(path, LOGIN_UID_BYTES) ?? 0);
    if (/^\d+$/.test(text)) this.#writer.loginUid(Number(text));
  }
}
