/** A file of JSON lines of bounded size. When full it is renamed to `NAME.1.jsonl`, which replaces the one before. */
import { closeSync, fstatSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { nodeFileOps } from '../../../storage/file-ops.js';
import type { AuditLog } from '../audit-log.js';

export class AuditFile implements AuditLog {
  readonly place: string;

  readonly #dir: string;
  readonly #name: string;
  readonly #bytesMax: number;

  constructor(dir: string, name: string, bytesMax: number) {
    this.#dir = dir;
    this.#name = name;
    this.#bytesMax = bytesMax;
    this.place = join(dir, `${name}.jsonl`);
  }

  async append(entries: readonly object[]): Promise<void> {
    const bytes = Buffer.from(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    let fd = openSync(this.place, 'a', 0o600);
    try {
      const { size } = fstatSync(fd);
      if (size > 0 && size + bytes.length > this.#bytesMax) {
        closeSync(fd);
        renameSync(this.place, join(this.#dir, `${this.#name}.1.jsonl`));
        fd = openSync(this.place, 'a', 0o600);
      }
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    nodeFileOps.syncDirectoryNow(this.#dir);
  }
}
