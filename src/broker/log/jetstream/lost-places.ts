/**
 * What brokers tell each other of the end that a log has lost: one that had not read as far as another asks for the places of
 * the cursors that the other one gave.
 *
 * bp.CLUSTER.lost.PARTITION   asked with JSON { offset, mark }; who knows answers with { offset, mark, covered }
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import * as z from 'zod';
import { LOST_PLACE_BYTES_MAX, LOST_PLACE_MS, NODES_PER_PARTITION_MAX } from '../../../limits.js';
import { jsonOf } from '../../nats/message-json.js';
import { CoveredPositions } from '../covered-positions.js';
import type { PartitionLog, Snapshot } from '../partition-log.js';
import { positionSchema, positionTuple } from '../position-tuple.js';

const whole = z.number().int().nonnegative();
const text = z.string().min(1).max(256);
const topics = z.array(z.tuple([text, positionSchema])).max(64);
const requestSchema = z.object({ offset: whole, mark: whole.max(0xffff_ffff) });
const answerSchema = z.object({
  ...{ offset: whole.min(1), mark: whole.max(0xffff_ffff).optional() },
  covered: z.array(z.tuple([text, topics])).max(NODES_PER_PARTITION_MAX),
});

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

  constructor(connection: NatsConnection, cluster: string, log: KnownLog) {
    this.#connection = connection;
    this.#log = log;
    this.#subject = `bp.${cluster}.lost.${log.partition}`;
    const callback = (_error: Error | null, message: Msg) => {
      const { data: request } = requestSchema.safeParse(jsonOf(message));
      const place = request && log.lostBefore(request.offset, request.mark);
      const answer = place && JSON.stringify(answerOf(place, log.markBefore(place.offset)));
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
    try {
      if (this.#connection.info === undefined) return undefined;
      const request = JSON.stringify({ offset, mark });
      const answer = await this.#connection.request(this.#subject, request, { timeout: LOST_PLACE_MS });
      const place = answerSchema.parse(jsonOf(answer));
      if (!(await this.#isOfThisLog(place))) return undefined;
      const covered = new CoveredPositions();
      for (const [node, byTopic] of place.covered) covered.reached(node, new Map(byTopic));
      return { offset: place.offset, covered };
    } catch {
      // Nobody says it in time.
      return undefined;
    }
  }

  async #isOfThisLog({ offset, mark }: z.output<typeof answerSchema>): Promise<boolean> {
    const { firstOffset, deliverableOffset } = this.#log;
    if (offset < firstOffset || offset > deliverableOffset) return false;
    const isSame = mark === undefined ? offset === 1 : await this.#log.hasMark(offset, mark);
    return isSame && !this.#log.isGoingBack;
  }
}

function answerOf({ offset, covered }: Snapshot, mark: number | undefined) {
  const nodes = Array.from(covered.entries(), ([node, byTopic]) => {
    return [node, Array.from(byTopic, ([topic, to]) => [topic, positionTuple(to)])];
  });
  return { offset, mark, covered: nodes };
}
