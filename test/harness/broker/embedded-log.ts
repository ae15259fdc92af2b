/** The embedded log for the contract suite, in a directory of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FsyncMode } from '../../../src/broker/log/embedded/embedded-log.js';
import type { EmbeddedLogStore } from '../../../src/broker/log/embedded/embedded-log-store.js';
import type { PartitionLog } from '../../../src/broker/log/partition-log.js';
import { MiB } from '../../../src/limits.js';
import { openLogs } from './stores.js';

export function embedded(fsync: FsyncMode) {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-log-'));
  const stores = new Map<PartitionLog, EmbeddedLogStore>();
  return {
    dir: join(dir, 'partition-0'),
    async open(bytesMax = 64 * MiB) {
      const store = await openLogs(dir, fsync, bytesMax);
      const log = store.partition(0);
      stores.set(log, store);
      return log;
    },
    // Like a killed process, it closes and flushes nothing.
    kill: async () => undefined,
    enforce: (log: PartitionLog) => stores.get(log)!.enforceRetention(),
    async destroy() {
      for (const store of stores.values()) await store.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
