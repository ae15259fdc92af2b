/**
 * A subscription that survives the loss of a broker, whatever carries it: a lost stream is resumed by its cursor, at
 * another broker or at the same one later, so that the items are those of one unbroken stream; breaks show as items of
 * their own.
 */
import { BackplaneError } from '../errors.js';
import { type BrokerRing, isSentAway } from '../flow/reconnect.js';
import { HeldGaps } from './held-gaps.js';
import { type ItemFacts, type ResumableRequest, Resumption } from './resumption.js';

/** How one broker's stream is had. */
export interface StreamSource<Request, Item> {
  /** One stream, until it ends or fails. */
  open(broker: string, request: Request, signal: AbortSignal): AsyncIterable<Item>;
  facts(item: Item): ItemFacts;
  /** What was thrown as an error; `unavailable` where another broker, or the same one later, may answer. */
  failure(broker: string, thrown: unknown): BackplaneError;
  /** The broker's connection failed. */
  lost(broker: string): void;
  /** With a cause: the stream broke and is being resumed. Without: it continues at this broker. */
  link(broker: string, cause: BackplaneError | undefined): Item;
  /** None of them answers. */
  nobody(brokers: readonly string[], cause: BackplaneError): BackplaneError;
}

/**
 * Iterates a subscription until the broker ends it or the signal is aborted. One item is read at a time, so that a
 * consumer that stops reading stops the broker. After a break `accepted` is yielded again, after the item that ends the
 * break.
 *
 * @throws BackplaneError what the broker refused; unavailable when at the start no broker answers. Once accepted, lost
 * brokers are tried again (0.1 to 0.5 s apart, later up to 2 s, with jitter) until the signal is aborted, and a stream
 * whose token expires is opened again with the token that there is then.
 */
export async function* resumingStream<Request extends ResumableRequest, Item extends { readonly kind: string }>(
  source: StreamSource<Request, Item>,
  ring: BrokerRing,
  request: Request,
  signal: AbortSignal,
): AsyncGenerator<Item, void, undefined> {
  const resumption = new Resumption(request);
  // At the start each is asked once, without waiting.
  const untried = [...ring.order()];
  let broken = false;
  while (!signal.aborted) {
    const broker = resumption.accepted ? ring.next() : (untried.shift() ?? '');
    if (resumption.accepted) await pause(ring.waitMs(broker), signal);
    if (signal.aborted) return;
    let cause = new BackplaneError('unavailable', 'the broker ended the stream');
    let answered = false;
    const gaps = new HeldGaps<Item>();
    try {
      for await (const item of source.open(broker, resumption.request(), signal)) {
        const facts = source.facts(item);
        if (facts.kind === 'accepted') {
          if (broken) yield source.link(broker, undefined);
          broken = false;
          answered = true;
          ring.answered(broker);
        }
        // Counted before the yield, because a consumer that stops at this item has received it.
        resumption.saw(facts);
        yield* gaps.pass(item);
      }
      if (!signal.aborted && resumption.finished) yield* gaps.take();
      if (signal.aborted || resumption.finished) return;
    } catch (thrown) {
      // A stream that breaks after its last event was complete, so there is nothing to resume.
      if (!signal.aborted && resumption.complete) yield* gaps.take();
      if (signal.aborted || resumption.complete) return;
      cause = source.failure(broker, thrown);
      // Of a stream that ran the token has expired. By now there may be another one; if not, that is refused.
      const expired = answered && cause.code === 'unauthenticated';
      if (!expired && !mayPass(cause, resumption.accepted, request)) throw cause;
    }
    source.lost(broker);
    ring.failed(broker, cause.code === 'unavailable', isSentAway(cause));
    if (resumption.accepted) {
      // Yielded once per break, because further attempts usually fail for the same reason.
      if (!broken) yield source.link(broker, cause);
      broken = true;
    } else if (untried.length === 0) throw endOf(source, ring, cause);
  }
}

/**
 * Whether it may be accepted later, here or at another broker, which may have room. What was accepted once is not given up
 * because a broker still holds the lost connection of a group's member for alive.
 */
function mayPass(cause: BackplaneError, wasAccepted: boolean, { group }: ResumableRequest): boolean {
  return asksAnother(cause) || (wasAccepted && cause.code === 'already_exists' && Boolean(group));
}

/** The broker is away, is leaving, or is full. */
export function asksAnother({ code, details }: BackplaneError): boolean {
  return code === 'unavailable' || (code === 'resource_exhausted' && details.retryAfterMs !== undefined);
}

/** All were asked: a broker that is full has answered, and says so itself. */
function endOf(
  source: Pick<StreamSource<never, never>, 'nobody'>,
  ring: BrokerRing,
  cause: BackplaneError,
): BackplaneError {
  return cause.code === 'unavailable' ? source.nobody(ring.brokers, cause) : cause;
}

/**
 * Asks one broker after the other until one answers.
 * @throws BackplaneError what a broker refused; unavailable when none answers
 */
export async function askInTurn<Answer>(
  source: Pick<StreamSource<never, never>, 'failure' | 'lost' | 'nobody'>,
  ring: BrokerRing,
  ask: (broker: string) => Promise<Answer>,
): Promise<Answer> {
  let cause = new BackplaneError('unavailable', 'no answer');
  for (const broker of ring.order()) {
    try {
      const answer = await ask(broker);
      ring.answered(broker);
      return answer;
    } catch (thrown) {
      cause = source.failure(broker, thrown);
      if (cause.code !== 'unavailable') throw cause;
      source.lost(broker);
      ring.failed(broker);
    }
  }
  throw endOf(source, ring, cause);
}

/** Resolves early when the signal is aborted. Browsers have no promise of a timer. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
