/**
 * How far the frames of a partition's nodes reach before each of its newest sequences. Who resumes mostly stands there, and
 * to ask NATS for it would take a consumer for each of them: hundreds at once, where a broker dies. And what machines lost
 * of the end of a stream nobody can ask for any more.
 */
import { LOG_RECENT_CHUNK, LOG_RECENT_CHUNKS_MAX } from '../../limits.js';
import type { Frame } from '../../wire/frame/frame.js';
import type { CoveredPositions } from './covered-positions.js';

interface Taken {
  readonly sequence: number;
  readonly node: string;
  readonly frame: Pick<Frame, 'topic' | 'coveredFrom' | 'coveredTo' | 'continues'>;
}

interface Chunk {
  /** The first sequence that it is about. */
  readonly begin: number;
  /** What holds before that. */
  readonly base: CoveredPositions;
  readonly taken: Taken[];
}

export class RecentCovers {
  #chunks: Chunk[] = [];

  /** @param covered what holds before a sequence, with which it goes on */
  restart(begin: number, covered: CoveredPositions): void {
    this.#chunks = [{ begin, base: covered.copy(), taken: [] }];
  }

  /** @param covered what holds before it */
  take(sequence: number, node: string, frame: Taken['frame'], covered: CoveredPositions): void {
    let last = this.#chunks.at(-1);
    if (last === undefined || last.taken.length >= LOG_RECENT_CHUNK) {
      last = { begin: sequence, base: covered.copy(), taken: [] };
      this.#chunks.push(last);
      if (this.#chunks.length > LOG_RECENT_CHUNKS_MAX) this.#chunks.shift();
    }
    last.taken.push({ sequence, node, frame });
  }

  /** What holds before a sequence of those that were read; undefined where it is too old. */
  before(offset: number): CoveredPositions | undefined {
    const chunk = this.#chunks.findLast(({ begin }) => begin <= offset);
    if (chunk === undefined) return undefined;
    const covered = chunk.base.copy();
    for (const { sequence, node, frame } of chunk.taken) {
      if (sequence >= offset) break;
      covered.take(node, frame);
    }
    return covered;
  }

  /** What it knows now, which does not change. */
  frozen(): RecentCovers {
    const frozen = new RecentCovers();
    frozen.#chunks = this.#chunks.map((chunk) => ({ ...chunk, taken: [...chunk.taken] }));
    return frozen;
  }
}
