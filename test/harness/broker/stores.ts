/** What a broker keeps, made alone: its log, its state, and what is asked of nodes. Warnings fail the test. */
import assert from 'node:assert/strict';
import { StateFile, type StateFileOptions } from '../../../src/broker/cluster/embedded/state-file.js';
import type { FsyncMode } from '../../../src/broker/log/embedded/embedded-log.js';
import { EmbeddedLogStore } from '../../../src/broker/log/embedded/embedded-log-store.js';
import { InterestBook } from '../../../src/broker/nodes/interest-book.js';
import { MiB } from '../../../src/limits.js';
import { keptNodeGlobs } from '../../../src/subscriptions/request/node-globs.js';

export function openLogs(dir: string, fsync: FsyncMode = 'never', bytesMax = 256 * MiB): Promise<EmbeddedLogStore> {
  const failed = (_log: unknown, cause: unknown) => assert.fail(String(cause));
  return EmbeddedLogStore.open({ dir, fsync, bytesMax, ageMsMax: 3_600_000, warn: assert.fail, onFailure: failed });
}

/** Takes any entries unless told otherwise. */
export function openState(dir: string, options: Partial<StateFileOptions> = {}): StateFile {
  const anything = { check: () => undefined, upgrade: () => [], consequence: 'It is gone', warn: assert.fail };
  return new StateFile({ dir, name: 'state', ...anything, ...options });
}

/** Nothing is asked yet. */
export function newBook(nowMs = Date.now()): InterestBook {
  return new InterestBook({ generation: 0, claims: new Map() }, (globs) => keptNodeGlobs(globs).matches, nowMs);
}
