/**
 * Which of several brokers is asked next, and how long to wait before it. Runs in browsers.
 *
 * A process that is started again is back within a second or two, so that the first waits are short. Every wait is
 * random over its whole range: a thousand clients that lost one broker must not come back together.
 */
import type { BackplaneError } from '../errors.js';
import {
  BROKER_SUSPECT_MS,
  RECONNECT_MOVE_MS_MAX,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  RECONNECT_SOON_ATTEMPTS,
  RECONNECT_SOON_MS_MAX,
} from '../limits/client.js';
import { brokerAddress } from '../text/broker-address.js';

/**
 * Milliseconds to wait after `failures` failed attempts in a row (1 and more).
 *
 * @param isAway the peer could not be reached or went away, and may be starting again; false where the peer answered
 *   and the attempt failed all the same, because it will fail again
 * @param random 0 to 1
 */
export function reconnectDelayMs(failures: number, isAway = true, random = Math.random()): number {
  const soon = isAway && failures <= RECONNECT_SOON_ATTEMPTS;
  const most = soon ? RECONNECT_SOON_MS_MAX : RECONNECT_MS_MAX;
  const ceilingMs = Math.min(most, RECONNECT_MS_MIN * 2 ** Math.min(failures, 16));
  return RECONNECT_MS_MIN + random * (ceilingMs - RECONNECT_MS_MIN);
}

/**
 * Whether a broker has sent this client to another one, some at a time: then it waits for nobody. Such a one says that it may
 * be asked again after 0 ms, elsewhere.
 */
export function isSentAway({ code, details }: BackplaneError): boolean {
  return code === 'unavailable' && details.retryAfterMs === 0;
}

/** A connection that held for so long was a good one: failures before it no longer count. */
const HELD_MS = 2 * RECONNECT_MS_MAX;

interface Candidate {
  readonly address: string;
  /** Failed attempts in a row. */
  failures: number;
  failedMs: number;
  /** Not to be asked before, by the clock of the ring. */
  freeMs: number;
  /** Since when it answers; undefined while it does not. */
  answersSinceMs: number | undefined;
}

/**
 * The brokers that a client may ask. Those of its own zone come first, each part shuffled, so that clients spread over
 * equal brokers. The one that answered last is kept. One that failed comes last for BROKER_SUSPECT_MS, and is waited for
 * only where no other is left: so a dead one is neither hammered nor stuck to.
 */
export class BrokerRing {
  /** host:port of each, in the order of the list. */
  readonly brokers: readonly string[];
  readonly #candidates: readonly Candidate[];
  /** Those of this side's zone. */
  readonly #near: ReadonlySet<string>;
  readonly #nowMs: () => number;
  readonly #random: () => number;
  #current: string | undefined;
  /** Nobody is asked before: the clients of a broker that died move to others one by one. */
  #moveMs = 0;

  /** @param brokers `host:port`, or `host:port@zone`. @param zone this side's; '' for none */
  constructor(brokers: readonly string[], zone = '', nowMs = () => performance.now(), random = Math.random) {
    const parsed = brokers.map(brokerAddress);
    this.brokers = parsed.map(({ address }) => address);
    this.#nowMs = nowMs;
    this.#random = random;
    const isNear = ({ zone: its }: { readonly zone: string }) => zone !== '' && its === zone;
    const near = parsed.filter(isNear);
    const far = parsed.filter((broker) => !isNear(broker));
    this.#near = new Set(near.map(({ address }) => address));
    this.#candidates = [...shuffled(near, random), ...shuffled(far, random)].map(({ address }) => ({
      ...{ address, failures: 0, freeMs: 0 },
      ...{ failedMs: Number.NEGATIVE_INFINITY, answersSinceMs: undefined },
    }));
  }

  /** All of them, in the order in which to ask them now. */
  order(): readonly string[] {
    const nowMs = this.#nowMs();
    const isSuspect = ({ failedMs }: Candidate) => nowMs - failedMs < BROKER_SUSPECT_MS;
    const good = this.#candidates.filter((each) => !isSuspect(each));
    const suspects = this.#candidates.filter(isSuspect).sort((a, b) => a.freeMs - b.freeMs);
    const kept = good.filter(({ address }) => address === this.#current);
    const others = good.filter(({ address }) => address !== this.#current);
    return [...kept, ...others, ...suspects].map(({ address }) => address);
  }

  /** Whether a broker is in this side's zone, and others of the list are not. */
  prefers(broker: string): boolean {
    return this.#near.has(broker) && this.#near.size < this.brokers.length;
  }

  /** The broker to ask next. */
  next(): string {
    return this.order()[0] ?? '';
  }

  /** Milliseconds to wait before that broker is asked. */
  waitMs(broker: string): number {
    return Math.max(0, Math.max(this.#moveMs, this.#of(broker)?.freeMs ?? 0) - this.#nowMs());
  }

  answered(broker: string): void {
    const candidate = this.#of(broker);
    if (candidate === undefined) return;
    this.#current = broker;
    candidate.answersSinceMs ??= this.#nowMs();
    candidate.failedMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * @param isAway as in reconnectDelayMs()
   * @param isSentAway the broker has sent this client to another one in its turn: it need not wait for the others
   */
  failed(broker: string, isAway = true, isSentAway = false): void {
    const candidate = this.#of(broker);
    const nowMs = this.#nowMs();
    // Calls that were under way together fail together: one failure.
    if (candidate === undefined || nowMs < candidate.freeMs) return;
    const { answersSinceMs = nowMs } = candidate;
    candidate.failures = nowMs - answersSinceMs > HELD_MS ? 1 : candidate.failures + 1;
    candidate.answersSinceMs = undefined;
    candidate.failedMs = nowMs;
    candidate.freeMs = nowMs + reconnectDelayMs(candidate.failures, isAway, this.#random());
    this.#moveMs = isSentAway ? nowMs : nowMs + this.#random() * RECONNECT_MOVE_MS_MAX;
  }

  #of(broker: string): Candidate | undefined {
    return this.#candidates.find(({ address }) => address === broker);
  }
}

/** Fisher and Yates. @param random 0 to 1 */
export function shuffled<Item>(items: readonly Item[], random = Math.random): Item[] {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const at = Math.min(last, Math.floor(random() * (last + 1)));
    [mixed[last], mixed[at]] = [mixed[at]!, mixed[last]!];
  }
  return mixed;
}
