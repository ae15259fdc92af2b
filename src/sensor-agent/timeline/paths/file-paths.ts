/**
 * Finds the paths of opened files: reads the links of the descriptors that
 * calls returned, when the calls' pages are read. A descriptor may be closed or
 * reused by then; where that is known, no path is given rather than another
 * file's.
 */
import { readlinkSync } from 'node:fs';
import { Pacer } from '../../../flow/pacer.js';
import { FILE_PATHS_AGE_MS_MAX, FILE_PATHS_CPU_BURST_MS, FILE_PATHS_CPU_SHARE } from '../../../limits.js';
import { msToNs } from '../../../nanoseconds.js';
import type { RecordedPaths } from '../../recorder/recording.js';
import { cut } from '../../source/process-text.js';
import type { OpenedFile } from './opened-file.js';

const AGE_NS_MAX = msToNs(FILE_PATHS_AGE_MS_MAX);
const DELETED = ' (deleted)';

export class FilePaths {
  readonly #pacer = new Pacer(FILE_PATHS_CPU_SHARE, FILE_PATHS_CPU_BURST_MS);
  #restUntilMs = 0;

  /** `nowNs` of the trace clock: files that were opened too long before it are not looked up. */
  read(opened: readonly OpenedFile[], nowNs: bigint): RecordedPaths['paths'] {
    const startMs = performance.now();
    if (opened.length === 0 || startMs < this.#restUntilMs) return [];
    const newest = new Map<string, OpenedFile>();
    for (const file of opened) {
      if (nowNs - file.timeNs > AGE_NS_MAX) continue;
      const key = `${file.pid}:${file.descriptor}`;
      const other = newest.get(key);
      if (!other || file.timeNs > other.timeNs) newest.set(key, file);
    }
    const paths: RecordedPaths['paths'][number][] = [];
    for (const { lane, timeNs, tie, threadId, descriptor } of newest.values()) {
      const path = linkOf(threadId, descriptor);
      if (path !== undefined) paths.push({ lane, timeNs, tie, path });
    }
    const endMs = performance.now();
    this.#restUntilMs = endMs + this.#pacer.spend(endMs - startMs);
    return paths;
  }
}

/** Undefined when the descriptor is closed or is no file: sockets, pipes and the like have links without a slash. */
function linkOf(threadId: number, descriptor: number): string | undefined {
  try {
    const link = readlinkSync(`/proc/${threadId}/fd/${descriptor}`);
    if (!link.startsWith('/')) return undefined;
    const path = link.endsWith(DELETED) ? link.slice(0, -DELETED.length) : link;
    return cut(path);
  } catch {
    return undefined;
  }
}
