/**
 * Finds the paths of opened files: reads the links of the descriptors that
 * calls returned, when the calls' pages are read. A descriptor may be closed by
 * then, or returned again for another file: so what calls returned until after
 * the links were read is looked at, too, and no path given rather than another
 * file's.
 */
import { Pacer } from '../../../flow/pacer.js';
import { FILE_PATHS_AGE_MS_MAX, FILE_PATHS_CPU_BURST_MS, FILE_PATHS_CPU_SHARE } from '../../../limits.js';
import { msToNs } from '../../../nanoseconds.js';
import type { RecordedPaths } from '../../recorder/recording.js';
import { readProcLink } from '../../source/proc-link.js';
import { cut } from '../../source/process-text.js';
import type { OpenedFile, OpenedFiles } from './opened-file.js';

const AGE_NS_MAX = msToNs(FILE_PATHS_AGE_MS_MAX);
const SLASH = 0x2f;

export class FilePaths {
  readonly #pacer = new Pacer(FILE_PATHS_CPU_SHARE, FILE_PATHS_CPU_BURST_MS);
  #restUntilMs = 0;

  /**
   * Of the files that were opened in pages since the last call.
   * @param nowNs of the trace clock: files that were opened too long before it are not looked up
   * @param readOn reads what was opened until now; false: not all of it is known
   */
  read(opened: OpenedFiles, nowNs: bigint, readOn: () => boolean): RecordedPaths['paths'] {
    const found = this.#links(opened, nowNs);
    if (found.length === 0 || !readOn()) return [];
    const isAnothers = opened.others();
    return found
      .filter(({ file }) => !isAnothers(file))
      .map(({ file: { lane, timeNs, tie }, path }) => ({ lane, timeNs, tie, path }));
  }

  #links(opened: OpenedFiles, nowNs: bigint): readonly Link[] {
    const startMs = performance.now();
    const files = opened.take();
    if (files.length === 0 || startMs < this.#restUntilMs) return [];
    const newest = new Map<string, OpenedFile>();
    for (const file of files) {
      if (nowNs - file.timeNs > AGE_NS_MAX) continue;
      const key = opened.keyOf(file);
      const other = newest.get(key);
      if (!other || file.timeNs > other.timeNs) newest.set(key, file);
    }
    const links: Link[] = [];
    for (const file of newest.values()) {
      const path = linkOf(file.threadId, file.descriptor);
      if (path !== undefined) links.push({ file, path });
    }
    const endMs = performance.now();
    this.#restUntilMs = endMs + this.#pacer.spend(endMs - startMs);
    return links;
  }
}

interface Link {
  readonly file: OpenedFile;
  readonly path: string;
}

/** Undefined when the descriptor is closed or is no file: sockets, pipes and the like have links without a slash. */
function linkOf(threadId: number, descriptor: number): string | undefined {
  const { target } = readProcLink(threadId, `fd/${descriptor}`) ?? {};
  return target?.[0] === SLASH ? cut(target.toString()) : undefined;
}
