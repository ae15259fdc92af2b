/**
 * What brokers tell each other of the end that a log has lost: one that had not read as far as another asks for the places of
 * the cursors that the other one gave.
 *
 * bp.CLUSTER.lost.PARTITION   asked with JSON { offset, mark }; who knows answers with { offset, mark, covered }, who has that
 *                             message still with { has: true }: it was lost, and is not known to be so there yet
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import * as z from 'zod';
import { BackplaneError } from '../../../errors.js';
import { LOST_PLACE_AGAIN_MS, LOST_PLACE_BYTES_MAX, LOST_PLACE_MS, NODES_PER_PARTITION_MAX } from '../../../limits.js';
import { jsonOf } from '../../nats/message-json.js';
import { createInbox } from '../../nats/nats-library.js';
import { CoveredPositions } from '../covered-positions.js';
import type { PartitionLog, Snapshot } from '../partition-log.js';
import { positionSchema, positionTuple } from '../position-tuple.js';
import type { Marks } from '../tail/marks.js';

const whole = z.number().int().nonnegative();
const text = z.string().min(1).max(256);
const topics = z.array(z.tuple([text, positionSchema])).max(64);
const requestSchema = z.object({ offset: whole, mark: whole.max(0xffff_ffff) });
const placeSchema = z.object({
  ...{ offset: whole.min(1), mark: whole.max(0xffff_ffff).optional() },
  covered: z.array(z.tuple([text, topics])).max(NODES_PER_PARTITION_MAX),
});
const answerSchema = z.union([placeSchema, z.object({ has: z.literal(true) })]);

/** A log that other brokers keep, too, as this one knows it. */
type KnownLog = Required<
  Pick<
    PartitionLog,
    'partition' | 'firstOffset' | 'deliverableOffset' | 'isGoingBack' | 'hasMark' | 'markBefore' | 'lostBefore'
  >
>;

/** Answers from its construction on. */
export class LostPlaces {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #log: KnownLog;
  readonly #subscription: Subscription;

  /** @param marks of messages that this broker has read, and does not know to be lost */
  constructor(connection: NatsConnection, cluster: string, log: KnownLog, marks: Pick<Marks, 'of'>) {
    this.#connection = connection;
    this.#log = log;
    this.#subject = `bp.${cluster}.lost.${log.partition}`;
    const callback = (_error: Error | null, message: Msg) => {
      const { data: request } = requestSchema.safeParse(jsonOf(message));
      const answer = request && JSON.stringify(answerTo(log, marks, request));
      // Who knows nothing is silent: the first answer counts.
      if (answer !== undefined && answer.length <= LOST_PLACE_BYTES_MAX) message.respond(answer);
    };
    this.#subscription = connection.subscribe(this.#subject, { callback });
  }

  close(): void {
    this.#subscription.unsubscribe();
  }

  /** See PartitionLog.othersLostBefore. */
  async ofOthers(offset: number, mark: number): Promise<Snapshot | undefined> {
    const place = await this.#ask(JSON.stringify({ offset, mark }));
    if (place === undefined) return undefined;
    if ('has' in place) {
      const where = `offset ${offset} of partition ${this.#log.partition}`;
      throw new BackplaneError('unavailable', `another broker does not know yet that ${where} is lost`);
    }
    if (!(await this.#isOfThisLog(place))) return undefined;
    const covered = new CoveredPositions();
    for (const [node, byTopic] of place.covered) covered.reached(node, new Map(byTopic));
    return { offset: place.offset, covered };
  }

  /**
   * The first answer; undefined where nobody says anything in time. Servers that were away come back to one broker after the
   * other, so it is asked several times.
   */
  async #ask(request: string): Promise<z.output<typeof answerSchema> | undefined> {
    if (!this.#isThere) return undefined;
    const reply = createInbox();
    const ask = () => {
      if (this.#isThere) this.#connection.publish(this.#subject, request, { reply });
    };
    const answers = this.#connection.subscribe(reply, { max: 1, timeout: LOST_PLACE_MS });
    const again = setInterval(ask, LOST_PLACE_AGAIN_MS);
    try {
      ask();
      for await (const answer of answers) return answerSchema.parse(jsonOf(answer));
    } catch {
      // Time is over, or it is nothing that a broker says.
    } finally {
      clearInterval(again);
      answers.unsubscribe();
    }
    return undefined;
  }

  /** What is said without a connection would be kept, or throw. */
  get #isThere(): boolean {
    return this.#connection.info !== undefined && !this.#connection.isClosed();
  }

  async #isOfThisLog({ offset, mark }: z.output<typeof placeSchema>): Promise<boolean> {
    const { firstOffset, deliverableOffset } = this.#log;
    if (offset > deliverableOffset) throw new BackplaneError('unavailable', `offset ${offset} is not read here yet`);
    if (offset < firstOffset) return false;
    const isSame = mark === undefined ? offset === 1 : await this.#log.hasMark(offset, mark);
    return isSame && !this.#log.isGoingBack;
  }
}

function answerTo(log: KnownLog, marks: Pick<Marks, 'of'>, { offset, mark }: z.output<typeof requestSchema>) {
  const place = log.lostBefore(offset, mark);
  if (place !== undefined) return answerOf(place, log.markBefore(place.offset));
  return marks.of(offset - 1) === mark ? { has: true } : undefined;
}

function answerOf({ offset, covered }: Snapshot, mark: number | undefined) {
  const nodes = Array.from(covered.entries(), ([node, byTopic]) => {
    return [node, Array.from(byTopic, ([topic, to]) => [topic, positionTuple(to)])];
  });
  return { offset, mark, covered: nodes };
}
