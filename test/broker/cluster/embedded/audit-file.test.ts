/** The audit file of one process keeps the contract of audit logs. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditFile } from '../../../../src/broker/cluster/embedded/audit-file.js';
import { KiB } from '../../../../src/limits.js';
import { auditLogContract } from '../../../contract/audit-log.js';

auditLogContract('embedded', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-audit-'));
  const read = (file: string) => {
    try {
      return readFileSync(join(dir, file), 'utf8').trimEnd().split('\n');
    } catch {
      return [];
    }
  };
  return {
    open: () => new AuditFile(dir, 'audit', 32 * KiB),
    entries: async () => [...read('audit.1.jsonl'), ...read('audit.jsonl')].map((line) => JSON.parse(line)),
    breakIt: async () => {
      rmSync(join(dir, 'audit.jsonl'));
      mkdirSync(join(dir, 'audit.jsonl'));
    },
    destroy: async () => rmSync(dir, { recursive: true, force: true }),
  };
});
