/**
 * Real files with faults on demand: a disk that fills up, fails, or loses what
 * was not synced when the power goes.
 */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { type FileOps, nodeFileOps } from '../../../src/storage/file-ops.js';

export type Loss = 'cut' | 'zeros' | 'noise';

export class FaultyFiles {
  /** Bytes that may still be written before ENOSPC. Deleting a file gives its bytes back. */
  space = Number.POSITIVE_INFINITY;
  /** How often the disk has refused to write. */
  refused = 0;
  /** Thrown by the next operation of that name, once. */
  failNext: { operation: 'writev' | 'sync' | 'syncNow' | 'open' | 'truncate' | 'read'; code: string } | undefined;
  /** While it is set, syncs wait for it. */
  gate: Promise<void> = Promise.resolve();
  syncs = 0;
  readonly ops: FileOps;
  #paths = new Map<number, string>();
  #syncedBytes = new Map<string, number>();
  #namesSynced = new Set<string>();
  #names = new Set<string>();

  constructor() {
    this.ops = {
      ...nodeFileOps,
      open: (path, flags) => {
        this.#fail('open');
        // Files from before this object count as on the disk, so a file that is truncated to nothing keeps its name.
        const isOld = fs.existsSync(path) && !this.#names.has(path);
        const fd = nodeFileOps.open(path, flags);
        this.#paths.set(fd, path);
        if (flags === 'w+') {
          this.#names.add(path);
          if (isOld) this.#namesSynced.add(path);
          this.#syncedBytes.set(path, 0);
        }
        return fd;
      },
      read: (...args) => {
        this.#fail('read');
        return nodeFileOps.read(...args);
      },
      writev: (fd, buffers, position) => this.#writev(fd, buffers, position),
      truncate: (fd, bytes) => {
        this.#fail('truncate');
        this.space += Math.max(0, fs.fstatSync(fd).size - bytes);
        nodeFileOps.truncate(fd, bytes);
        const path = this.#paths.get(fd)!;
        this.#syncedBytes.set(path, Math.min(bytes, this.#syncedBytes.get(path) ?? bytes));
      },
      unlink: (path) => {
        const { size } = fs.statSync(path);
        nodeFileOps.unlink(path);
        this.space += size;
        this.#forget(path);
      },
      rename: (from, to) => {
        nodeFileOps.rename(from, to);
        this.#names.add(to);
        this.#syncedBytes.set(to, this.#syncedBytes.get(from) ?? 0);
        this.#forget(from);
      },
      sync: async (fd) => {
        this.syncs++;
        const size = fs.fstatSync(fd).size;
        const path = this.#paths.get(fd)!;
        await this.gate;
        this.#fail('sync');
        await nodeFileOps.sync(fd);
        this.#syncedBytes.set(path, Math.max(size, this.#syncedBytes.get(path) ?? 0));
      },
      syncNow: (fd) => {
        this.#fail('syncNow');
        nodeFileOps.syncNow(fd);
        this.#syncedBytes.set(this.#paths.get(fd)!, fs.fstatSync(fd).size);
      },
      syncDirectory: async (path) => {
        const names = [...this.#names];
        await nodeFileOps.syncDirectory(path);
        this.#keepNames(path, names);
      },
      syncDirectoryNow: (path) => {
        nodeFileOps.syncDirectoryNow(path);
        this.#keepNames(path, [...this.#names]);
      },
    };
  }

  /**
   * The power goes: names and bytes that were not synced are lost. `keep` chooses how many of the latter stay all the
   * same, `namesStay` whether the former do: a file system may write them down whenever it likes.
   */
  powerLoss(loss: Loss, keep: (bytes: number) => number, namesStay = false): void {
    for (const path of this.#names) {
      if (!fs.existsSync(path)) continue;
      if (!namesStay && !this.#namesSynced.has(path)) {
        fs.unlinkSync(path);
        continue;
      }
      const bytes = fs.readFileSync(path);
      const synced = Math.min(this.#syncedBytes.get(path) ?? 0, bytes.length);
      const kept = synced + keep(bytes.length - synced);
      if (loss === 'cut') fs.truncateSync(path, kept);
      else {
        for (let at = kept; at < bytes.length; at++) bytes[at] = loss === 'zeros' ? 0 : (at * 151) & 0xff;
        fs.writeFileSync(path, bytes);
      }
    }
  }

  #fail(operation: string): void {
    if (this.failNext?.operation !== operation) return;
    const { code } = this.failNext;
    this.failNext = undefined;
    throw Object.assign(new Error(`${code}: injected`), { code });
  }

  #writev(fd: number, buffers: readonly Uint8Array[], position: number): number {
    this.#fail('writev');
    const bytes = Buffer.concat(buffers);
    const grows = Math.max(0, position + bytes.length - fs.fstatSync(fd).size);
    if (grows <= this.space) {
      this.space -= grows;
      return nodeFileOps.writev(fd, buffers, position);
    }
    this.refused++;
    const fits = bytes.length - grows + this.space;
    if (fits <= 0) throw Object.assign(new Error('ENOSPC: injected'), { code: 'ENOSPC' });
    this.space = 0;
    return nodeFileOps.writev(fd, [bytes.subarray(0, fits)], position);
  }

  #keepNames(dir: string, names: readonly string[]): void {
    for (const name of names) if (dirname(name) === dir) this.#namesSynced.add(name);
  }

  #forget(path: string): void {
    this.#names.delete(path);
    this.#namesSynced.delete(path);
    this.#syncedBytes.delete(path);
  }
}
