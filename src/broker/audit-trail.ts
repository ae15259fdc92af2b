/**
 * Who changed what, when: one JSON object a line in `audit.jsonl`, durable
 * before the change takes effect. A file that is full is kept once more, as
 * `audit.1.jsonl`, whose place the next one takes.
 */
import { closeSync, fstatSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { BackplaneError } from '../errors.js';
import { AUDIT_BYTES_MAX } from '../limits.js';
import { nodeFileOps, systemErrorCode } from '../storage/file-ops.js';

export interface AuditEntry {
  readonly action: 'set_budget' | 'forget_nodes';
  /** Where it came from: the connection's own address. */
  readonly peer: string;
  /** Undefined: it was done. */
  readonly refused?: string | undefined;
  readonly [fact: string]: unknown;
}

export class AuditTrail {
  private readonly file: string;

  constructor(
    private readonly dir: string,
    private readonly logger: Logger,
    private readonly bytesMax = AUDIT_BYTES_MAX,
  ) {
    this.file = join(dir, 'audit.jsonl');
  }

  /** Throws resource_exhausted when it cannot be written: what is not on record is not done. */
  record(entry: AuditEntry): void {
    const line = `${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`;
    try {
      this.append(line);
    } catch (cause) {
      const why = systemErrorCode(cause) ?? String(cause);
      throw new BackplaneError('resource_exhausted', `${this.file} cannot be written (${why}): nothing was changed`);
    }
    this.logger.info(entry, `${entry.action} by ${entry.peer}${entry.refused === undefined ? '' : ' refused'}`);
  }

  private append(line: string): void {
    let fd = openSync(this.file, 'a', 0o600);
    try {
      const { size } = fstatSync(fd);
      if (size > 0 && size + line.length > this.bytesMax) {
        closeSync(fd);
        renameSync(this.file, join(this.dir, 'audit.1.jsonl'));
        fd = openSync(this.file, 'a', 0o600);
      }
      const bytes = Buffer.from(line);
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    nodeFileOps.syncDirectoryNow(this.dir);
  }
}
