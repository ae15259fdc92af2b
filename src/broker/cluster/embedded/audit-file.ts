/** A file of JSON lines of bounded size. When full it is renamed to `NAME.1.jsonl`, which replaces the one before. */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { OneAtATime } from '../../../flow/one-at-a-time.js';
import { nodeFileOps } from '../../../storage/file-ops.js';
import type { AuditLog } from '../audit-log.js';

export class AuditFile implements AuditLog {
  readonly place: string;
  readonly #appends = new OneAtATime();

  readonly #dir: string;
  readonly #name: string;
  readonly #bytesMax: number;

  constructor(dir: string, name: string, bytesMax: number) {
    this.#dir = dir;
    this.#name = name;
    this.#bytesMax = bytesMax;
    this.place = join(dir, `${name}.jsonl`);
  }

  append(entries: readonly object[]): Promise<void> {
    return this.#appends.run(() => this.#append(entries));
  }

  async #append(entries: readonly object[]): Promise<void> {
    const bytes = Buffer.from(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    let fd = openSync(this.place, 'a', 0o600);
    try {
      let { size } = fstatSync(fd);
      if (size > 0 && size + bytes.length > this.#bytesMax) {
        closeSync(fd);
        renameSync(this.place, join(this.#dir, `${this.#name}.1.jsonl`));
        fd = openSync(this.place, 'a', 0o600);
        size = 0;
      }
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      await nodeFileOps.sync(fd);
      // Only a new file has a name that is not durable yet.
      if (size === 0) await nodeFileOps.syncDirectory(this.#dir);
    } finally {
      closeSync(fd);
    }
  }
}
