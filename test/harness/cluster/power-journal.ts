/**
 * What of a directory a power cut may take, as a journal of lines, one JSON
 * object each, that is written while processes work there and outlives them.
 *
 * The model: of a file that is durable which it held when its last completed
 * fsync or fdatasync was called. Of what was written behind that, all may be
 * there, or nothing, or a part that ends at any byte, and the rest is cut off;
 * or, from there or from a later sector on, all reads as zeros.
 * What was truncated since is cut, or there as before; sectors that are overwritten
 * count as truncated and written anew. What a name means
 * (files and directories that were made, renamed, replaced, unlinked) is
 * durable with the next completed fsync of its directory; until then it is, for
 * each name by itself, any of what it has meant since the last one. This is all
 * that POSIX promises; ext4 and xfs promise more about the order of names.
 *
 * Not modelled: later writes that survive while earlier ones of the same file
 * do not, the blocks of other files in place of zeros, overwriting of parts of
 * sectors but of a file within one (nobody does it: it throws), disks that lie about what they have flushed.
 * Files over KEPT_BYTES_MAX that were unlinked do not come back.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What was cut off a file, from `at` on. */
interface Cut {
  readonly at: number;
  readonly base64: string;
}

interface FileState {
  /** Bytes that are durable, unless they were cut. */
  readonly synced: number;
  /** Since then. */
  readonly cuts: readonly Cut[];
  /** Of a file that was renamed: if another has its name, that was not done any more. */
  readonly inode?: number;
}

/** What a name meant. `copy` is a file's name beside the journal. */
export type Meaning =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'link'; readonly target: string }
  | ({ readonly kind: 'file'; readonly copy: string } & FileState);

export type Line =
  /** All of the file counts as durable: nothing was known of it. */
  | { readonly do: 'found'; readonly path: string; readonly bytes: number }
  /** The name is about to mean something else. */
  | { readonly do: 'named'; readonly path: string; readonly was: Meaning }
  | { readonly do: 'created'; readonly path: string }
  | { readonly do: 'moved'; readonly from: string; readonly to: string; readonly inode: number }
  | { readonly do: 'unlinked'; readonly path: string }
  | ({ readonly do: 'cut'; readonly path: string } & Cut)
  /** A sync has ended: the length and the number of cuts when it began. */
  | { readonly do: 'synced'; readonly path: string; readonly bytes: number; readonly cuts: number }
  /** Likewise of a directory: the number of `named` lines when it began. */
  | { readonly do: 'names-synced'; readonly dir: string; readonly named: number };

export class PowerState {
  readonly files = new Map<string, FileState>();
  /** Of names whose directory was not synced since: what they meant, oldest first. */
  readonly names = new Map<string, readonly { readonly at: number; readonly was: Meaning }[]>();
  /** Lines of that kind. */
  named = 0;

  /** As the lines in a journal's directory leave it; one that a kill has cut in half counts for nothing. */
  static read(dir: string): PowerState {
    const state = new PowerState();
    const file = join(dir, JOURNAL);
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    for (const line of text.split('\n').slice(0, -1)) state.apply(JSON.parse(line) as Line);
    return state;
  }

  /** Bytes of the file that are there whatever happens. */
  durable(path: string): number {
    const { synced = 0, cuts = [] } = this.files.get(path) ?? {};
    return Math.min(synced, ...cuts.map(({ at }) => at));
  }

  apply(line: Line): void {
    const { files } = this;
    if (line.do === 'found') files.set(line.path, { synced: line.bytes, cuts: [] });
    else if (line.do === 'created') files.set(line.path, { synced: 0, cuts: [] });
    else if (line.do === 'unlinked') files.delete(line.path);
    else if (line.do === 'named') {
      this.named += 1;
      this.names.set(line.path, [...(this.names.get(line.path) ?? []), { at: this.named, was: line.was }]);
    } else if (line.do === 'moved') {
      const moved = files.get(line.from);
      files.delete(line.from);
      if (moved) files.set(line.to, { ...moved, inode: line.inode });
      else files.delete(line.to);
    } else if (line.do === 'names-synced') this.#namesSynced(line.dir, line.named);
    else {
      const file = files.get(line.path);
      if (file === undefined) return;
      const { at, base64 } = line.do === 'cut' ? line : { at: 0, base64: '' };
      if (line.do === 'cut') files.set(line.path, { ...file, cuts: [...file.cuts, { at, base64 }] });
      else files.set(line.path, { ...file, synced: line.bytes, cuts: file.cuts.slice(line.cuts) });
    }
  }

  #namesSynced(dir: string, named: number): void {
    for (const [path, meanings] of this.names) {
      if (dirname(path) !== dir) continue;
      const left = meanings.filter(({ at }) => at > named);
      if (left.length > 0) this.names.set(path, left);
      else this.names.delete(path);
    }
  }
}

/** The smallest unit that a disk writes at once. */
export const SECTOR_BYTES = 512;

/** File name of the journal in its directory. */
export const JOURNAL = 'journal';
