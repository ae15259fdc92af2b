/** The budgets that operators set for nodes, kept over restarts. A JSON file that is replaced as a whole. */
import path from 'node:path';
import * as z from 'zod';
import { STATE_BYTES_MAX } from '../../../limits.js';
import { readBoundedFile } from '../../../storage/bounded-file.js';
import { nodeFileOps, systemErrorCode, writeSmallFile } from '../../../storage/file-ops.js';
import { putAside } from './put-aside.js';

/** A missing field leaves the node's own setting in force. */
export interface SavedBudget {
  readonly liveBytesPerSecond?: number | undefined;
  readonly liveEventsPerSecond?: number | undefined;
  readonly historyBytesPerSecond?: number | undefined;
}

const rate = z.number().int().positive().optional();
const budget = z.object({ liveBytesPerSecond: rate, liveEventsPerSecond: rate, historyBytesPerSecond: rate });
const schema = z.object({ version: z.literal(1), nodes: z.record(z.string(), budget) });

export class BudgetFile {
  readonly #file: string;

  constructor(dir: string) {
    this.#file = path.join(dir, 'budgets.json');
  }

  /** Empty when nothing was saved. A file that cannot be parsed is put aside, and `warn` is called. */
  load(warn: (message: string) => void): ReadonlyMap<string, SavedBudget> {
    try {
      return new Map(
        Object.entries(schema.parse(JSON.parse(readBoundedFile(this.#file, STATE_BYTES_MAX).toString('utf8'))).nodes),
      );
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return new Map();
      warn(`${this.#file} is damaged: ${putAside(this.#file)}, and budgets that were set at run time are gone`);
      return new Map();
    }
  }

  /** Resolves when the file is durable; rejects with the system's error. */
  async save(nodes: ReadonlyMap<string, SavedBudget>): Promise<void> {
    const text = JSON.stringify({ version: 1, nodes: Object.fromEntries(nodes) });
    writeSmallFile(nodeFileOps, this.#file, Buffer.from(text), true);
    nodeFileOps.syncDirectoryNow(path.dirname(this.#file));
  }
}
