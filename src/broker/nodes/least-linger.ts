/**
 * How long nodes gather live events at least: each sends a frame or more in that time, and a log takes only so many a second.
 * So it grows with the nodes that are connected, to all brokers of a log; and beyond that, while what they send takes long
 * until it is in the log, or leaves the broker no rest, however few they are. A node whose settings say more keeps to those.
 */
import {
  INTAKE_AGAIN_SECONDS,
  INTAKE_BEHIND_FACTOR,
  INTAKE_BEHIND_MS,
  INTAKE_BEHIND_SHARE,
  INTAKE_BUSY_MESSAGES_PER_SECOND,
  INTAKE_BUSY_SHARE,
  INTAKE_FREE_FACTOR,
  INTAKE_FREE_SHARE,
  INTAKE_RESTED_SHARE,
  INTAKE_REVIEW_SECONDS,
  INTAKE_SMALL_BYTES,
  LEAST_LINGER_MS_MAX,
  LINGER_MS_LEAST_DEFAULT,
} from '../../limits.js';
import type { Intake } from '../ingest/intake.js';
import type { NodeRegistry } from './node-registry.js';

/** The nodes are told again when it has changed by more than this share. */
const TOLERANCE = 0.25;

export class LeastLinger {
  #toldMs = 0;
  /** By how much nodes gather for longer than their number asks for. */
  #factor = 1;
  /**
   * What was too little last, in time, as nodes come and go, and the seconds since. What came on top of it while the broker
   * caught up may be too much.
   */
  #tooLittleMs = 0;
  #sinceBehind = 0;
  #wasBehind = false;
  #seconds = 0;
  /** By node, the session that has heard of it. */
  readonly #told = new Map<string, string>();

  readonly #registry: NodeRegistry;
  readonly #framesPerSecond: number;
  readonly #intake: Pick<Intake, 'takeLoad'>;

  /** @param framesPerSecond what the log takes */
  constructor(registry: NodeRegistry, framesPerSecond: number, intake: Pick<Intake, 'takeLoad'>) {
    this.#intake = intake;
    this.#registry = registry;
    this.#framesPerSecond = framesPerSecond;
    registry.listen((node) => this.#review(node));
  }

  get ms(): number {
    const ms = Math.ceil(this.#ownMs * this.#factor);
    // Less than any node gathers by its own settings need not be said.
    return ms < LINGER_MS_LEAST_DEFAULT ? 0 : Math.min(LEAST_LINGER_MS_MAX, ms);
  }

  /** By the number of nodes. */
  get #ownMs(): number {
    return (this.#registry.connectedEverywhere / this.#framesPerSecond) * 1000;
  }

  /** Call this each second. */
  look(): void {
    this.#seconds += 1;
    this.#sinceBehind += 1;
    if (this.#seconds < Math.max(INTAKE_REVIEW_SECONDS, this.ms / 1000)) return;
    this.#seconds = 0;
    const { messages, bytes, tookMs, seconds, busy } = this.#intake.takeLoad();
    const behindMs = Math.max(INTAKE_BEHIND_MS, this.ms * INTAKE_BEHIND_SHARE);
    const meanMs = messages === 0 ? 0 : tookMs / messages;
    const hasNoRest = busy >= INTAKE_BUSY_SHARE && messages >= seconds * INTAKE_BUSY_MESSAGES_PER_SECOND;
    const isBehind = (meanMs > behindMs || hasNoRest) && bytes < messages * INTAKE_SMALL_BYTES;
    const isFree = meanMs < behindMs * INTAKE_FREE_SHARE && busy < INTAKE_RESTED_SHARE;
    if (isBehind && !this.#wasBehind) this.#tooLittleMs = this.#ownMs * this.#factor;
    this.#wasBehind = isBehind;
    if (isBehind && this.ms < LEAST_LINGER_MS_MAX) {
      this.#sinceBehind = 0;
      this.#factor *= INTAKE_BEHIND_FACTOR;
    } else if (isFree) this.#gatherLess();
    if (this.#hasChanged) this.#tellAll();
  }

  #gatherLess(): void {
    const less = Math.max(1, this.#factor * INTAKE_FREE_FACTOR);
    const isEnough = this.#ownMs * less > this.#tooLittleMs;
    if (isEnough || this.#sinceBehind >= INTAKE_AGAIN_SECONDS) this.#factor = less;
  }

  get #hasChanged(): boolean {
    return Math.abs(this.ms - this.#toldMs) > TOLERANCE * this.#toldMs;
  }

  #review(node: string): void {
    if (this.#hasChanged) this.#tellAll();
    else if (this.#toldMs > 0) this.#tell(node);
  }

  #tellAll(): void {
    this.#toldMs = this.ms;
    this.#told.clear();
    for (const each of this.#registry.connected((name) => this.#registry.session(name) !== undefined)) this.#tell(each);
  }

  #tell(node: string): void {
    const session = this.#registry.session(node);
    if (session === undefined) this.#told.delete(node);
    else if (this.#told.get(node) !== session.id) {
      this.#told.set(node, session.id);
      session.send({ leastLinger: { lingerMs: this.#toldMs } });
    }
  }
}
