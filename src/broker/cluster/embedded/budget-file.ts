/** What operators set for nodes, kept over restarts. JSON, replaced as a whole. */
import path from 'node:path';
import * as z from 'zod';
import { STATE_BYTES_MAX } from '../../../limits.js';
import { readBoundedFile } from '../../../storage/bounded-file.js';
import { nodeFileOps, systemErrorCode, writeSmallFile } from '../../../storage/file-ops.js';
import { putAside } from './put-aside.js';

/** Fields that are not there are as the node's own settings say. */
export interface SavedBudget {
  readonly liveBytesPerSecond?: number | undefined;
  readonly liveEventsPerSecond?: number | undefined;
  readonly historyBytesPerSecond?: number | undefined;
}

const rate = z.number().int().positive().optional();
const budget = z.object({ liveBytesPerSecond: rate, liveEventsPerSecond: rate, historyBytesPerSecond: rate });
const schema = z.object({ version: z.literal(1), nodes: z.record(z.string(), budget) });

export class BudgetFile {
  private readonly file: string;

  constructor(dir: string) {
    this.file = path.join(dir, 'budgets.json');
  }

  /** Empty when nothing was saved. A file that cannot be understood is put aside, and `warn` is told. */
  load(warn: (message: string) => void): ReadonlyMap<string, SavedBudget> {
    try {
      return new Map(
        Object.entries(schema.parse(JSON.parse(readBoundedFile(this.file, STATE_BYTES_MAX).toString('utf8'))).nodes),
      );
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return new Map();
      warn(`${this.file} is damaged: ${putAside(this.file)}, and budgets that were set at run time are gone`);
      return new Map();
    }
  }

  /** Resolves when it is durable. */
  async save(nodes: ReadonlyMap<string, SavedBudget>): Promise<void> {
    const text = JSON.stringify({ version: 1, nodes: Object.fromEntries(nodes) });
    writeSmallFile(nodeFileOps, this.file, Buffer.from(text), true);
    nodeFileOps.syncDirectoryNow(path.dirname(this.file));
  }
}
