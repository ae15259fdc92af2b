/** Synthetic nodes on the log of a cluster, and what a subscription makes of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { follows } from '../../../src/broker/log/chain.js';
import type { JetStreamLog } from '../../../src/broker/log/jetstream/jetstream-log.js';
import type { LogEntry } from '../../../src/broker/log/partition-log.js';
import type { BackplaneError } from '../../../src/errors.js';
import { encodeFrame } from '../../../src/wire/frame/frame.js';
import type { Position } from '../../../src/wire/position.js';
import { frameOf } from '../../contract/partition-log.js';

const FRAME_BYTES = 1_000;
/** After each frame: a stream must hold all of a long test. */
const PACE_MS = 5;
/** Of the positions that one frame covers, at most. */
const STEPS_MAX = 3;

/** Frames of one node: what is not taken is tried again, and after the session has ended what the log does not have. */
export class Sender {
  /** Everything up to here was acknowledged once. */
  acknowledged = 0;
  /** How far the frame under way reaches. */
  sending = 0;
  /** Milliseconds until a frame was acknowledged, at most. */
  pauseMax = 0;
  readonly name: string;
  readonly #log: JetStreamLog;
  readonly #frameBytes: number;
  #next = 0;
  #isOver = false;

  constructor(log: JetStreamLog, name: string, frameBytes = FRAME_BYTES) {
    this.#log = log;
    this.name = name;
    this.#frameBytes = frameBytes;
  }

  /** The session ends: the next one begins behind what the log has. */
  endSession(): void {
    this.#isOver = true;
  }

  async run(goesOn: () => boolean): Promise<void> {
    for (let count = 0; goesOn(); count++) {
      if (this.#isOver) this.#next = Number(this.#log.coveredTo(this.name, 'process')?.timeNs ?? 0n);
      this.#isOver = false;
      const to = this.#next + 1 + (count % STEPS_MAX);
      this.sending = Math.max(this.sending, to);
      const beganMs = performance.now();
      if (await this.#send(to, goesOn)) {
        this.#next = to;
        this.acknowledged = Math.max(this.acknowledged, to);
        this.pauseMax = Math.max(this.pauseMax, performance.now() - beganMs);
        await sleep(PACE_MS);
      }
    }
  }

  /** False where the session has ended, or all is to end. */
  async #send(to: number, goesOn: () => boolean): Promise<boolean> {
    const frame = { ...frameOf(this.#next, to, this.#frameBytes), continues: this.#next > 0 };
    while (!this.#isOver && goesOn()) {
      const failure = await this.#log.append(this.name, frame, encodeFrame(frame)).then(
        () => undefined,
        (cause: BackplaneError) => cause,
      );
      if (failure === undefined) return true;
      if (failure.code === 'failed_precondition') this.endSession();
    }
    return false;
  }
}

/** What a subscription makes of what it is told: it is behind, or ahead, of nobody. */
export class Told {
  /** Frames that were passed over, as all they have had been told. */
  duplicates = 0;
  /** What was not told in order. */
  readonly faults: string[] = [];
  /** Called for each node's new frames. */
  onNew: (node: string, to: number) => void = () => undefined;
  readonly #reached = new Map<string, Position>();

  constructor(log: JetStreamLog) {
    log.follow((entry) => this.take(entry));
  }

  take({ node, frame }: LogEntry): void {
    const reached = this.#reached.get(node);
    const followed = follows(frame, reached);
    if (followed === 'duplicate') {
      this.duplicates++;
      return;
    }
    if (frame.coveredFrom.timeNs > (reached?.timeNs ?? 0n)) {
      this.faults.push(`${node} ${reached?.timeNs ?? 0n}-${frame.coveredFrom.timeNs} is missing`);
    }
    this.#reached.set(node, frame.coveredTo);
    this.onNew(node, Number(frame.coveredTo.timeNs));
  }

  /** How far a node was told. */
  to(node: string): number {
    return Number(this.#reached.get(node)?.timeNs ?? 0n);
  }
}

/** Milliseconds as seconds, the least first. */
export const secondsText = (ms: readonly number[]): string =>
  [...ms]
    .sort((a, b) => a - b)
    .map((each) => (each / 1000).toFixed(1))
    .join(' ');
