/**
 * Joins what the kernel was given as a path (source/paths/path-points.ts) to the call that it was given to: the one that
 * the same thread is in. An open begins, is given its path, and returns; what a thread is given outside of one, as it
 * starts a program or works for io_uring, is nobody's. Of other operations the paths stand right before the call.
 */
import { OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { FILE_PATHS_BYTES_MAX, PATH_JOIN_THREADS_MAX } from '../../../limits.js';
import { isPathEvent, pathEvent } from '../../../subscriptions/pushdown/catalogue.js';
import { copiedText } from '../../source/pages/copied-text.js';
import type { FieldValue, FieldValues } from '../../source/pages/decoder.js';
import { hasPlace, mountedPlace } from '../../source/paths/mounted-place.js';
import { cut } from '../../source/process-text.js';
import { BoundedMap } from '../bounded-map.js';
import { narrow } from '../syscall-events.js';

export interface GivenPaths {
  /** Empty where the kernel could not read it. */
  readonly path: string;
  readonly newPath?: string | undefined;
  /** Where the file is, not as the program gave it. */
  readonly resolved?: boolean | undefined;
  /** The number of the mount namespace in which it is there, where that is not the usual one. */
  readonly namespace?: number;
  /** Of an open. */
  readonly flags?: number;
  readonly mode?: number;
}

interface Open {
  /** As the program gave them; undefined for calls that do not have them in registers. */
  readonly flags: number | undefined;
  readonly mode: number | undefined;
  given: GivenPaths | undefined;
}

/** Calls that open a file, as they begin. */
export const OPEN_BEGINS = /^sys_enter_(?:open|openat|openat2|creat)$/;
const OPEN_PATH = pathEvent('open');
/** The kernel adds it to every open of a 64-bit program. */
const ADDED_FLAG = OWN_ARCHITECTURE?.openFlags.O_LARGEFILE ?? 0;

export class PathJoin {
  readonly #opens = new BoundedMap<number, Open>(PATH_JOIN_THREADS_MAX);
  readonly #others = new BoundedMap<number, GivenPaths>(PATH_JOIN_THREADS_MAX);
  /** The mount namespace that is not told. */
  usualNamespace: number | undefined;

  /** Follows an event of a thread. True: it is no event by itself. */
  follow(threadId: number, name: string, values: FieldValues): boolean {
    if (OPEN_BEGINS.test(name)) {
      const register = (field: string) => (field in values ? narrow(values[field]) : undefined);
      this.#opens.set(threadId, { flags: register('flags'), mode: register('mode'), given: undefined });
      return true;
    }
    if (!isPathEvent(name)) return false;
    if (name === OPEN_PATH) this.#opened(threadId, values);
    else this.#others.set(threadId, this.#pathsOf(values));
    return true;
  }

  /** The first path is the call's own: a driver may open more for it. */
  #opened(threadId: number, values: FieldValues): void {
    const open = this.#opens.get(threadId);
    if (open === undefined || open.given !== undefined) return;
    const asked = narrow(values['flags']) & ~ADDED_FLAG;
    const { flags = asked, mode = narrow(values['mode']) } = open;
    open.given = { ...textsOf(values), flags, mode };
  }

  #pathsOf(values: FieldValues): GivenPaths {
    if (!hasPlace(values)) return textsOf(values);
    const { path = '', namespace } = mountedPlace(values) ?? {};
    const isUsual = namespace === undefined || namespace === this.usualNamespace;
    return { path: cut(path), resolved: true, ...(isUsual ? {} : { namespace }) };
  }

  /** What the call was given that this event of a thread tells; undefined where that is not known. */
  take(threadId: number, opens: boolean): GivenPaths | undefined {
    if (opens) return this.#takeOpen(threadId);
    const given = this.#others.get(threadId);
    this.#others.delete(threadId);
    return given;
  }

  #takeOpen(threadId: number): GivenPaths | undefined {
    const open = this.#opens.get(threadId);
    this.#opens.delete(threadId);
    return open && (open.given ?? { path: '', flags: open.flags ?? 0, mode: open.mode ?? 0 });
  }

  /** The thread has ended, or does something else now. */
  forget(threadId: number): void {
    this.#opens.delete(threadId);
    this.#others.delete(threadId);
  }

  /** Events of these types were off until here. */
  switchedOn(types: ReadonlySet<string>): void {
    if (types.has('file.open')) this.#opens.clear();
    if ([...types].some((type) => type.startsWith('file.') && type !== 'file.open')) this.#others.clear();
  }

  /** Whether a call has begun and not returned, or its paths wait for it. */
  get waits(): boolean {
    return this.#opens.size > 0 || this.#others.size > 0;
  }

  /** Events are missing from here on. */
  clear(): void {
    this.#opens.clear();
    this.#others.clear();
  }
}

function textsOf(values: FieldValues): GivenPaths {
  const path = given(values['path']);
  const newPath = given(values['new_path']);
  const both = Buffer.byteLength(path) + Buffer.byteLength(newPath);
  return newPath === '' || both > FILE_PATHS_BYTES_MAX ? { path } : { path, newPath };
}

function given(value: FieldValue | undefined): string {
  return cut(copiedText(value) ?? '');
}
