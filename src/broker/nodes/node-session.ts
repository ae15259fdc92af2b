/**
 * One agent's connection: three streams that end together. The queue of control
 * messages to the agent is bounded in bytes; an agent that does not read its
 * control stream loses the session, and catches up from its recorder afterwards.
 */
import type { ServerDuplexStream, ServerReadableStream } from '@grpc/grpc-js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import type { StreamWriter } from '../../flow/stream-writer.js';
import { CONTROL_QUEUE_BYTES_MAX, MESSAGE_BYTES_MAX } from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { callWriter } from '../../wire/grpc/call-writer.js';
import { type CallFailure, callFailure } from '../../wire/grpc/status-details.js';
import {
  type ControlResponse,
  controlRequestCodec,
  controlResponseCodec,
  positionFromMessage,
  positionToMessage,
} from '../../wire/messages.js';
import type { Position } from '../../wire/position.js';
import type { WantedChange } from './asked/wanted.js';
import { HistoryQueries } from './history/history-queries.js';
import { checkEpoch } from './node-checks.js';
import type { NodeRecord } from './node-record.js';
import type { Admission, NodeRegistry } from './node-registry.js';

export type UplinkCall = ServerReadableStream<Buffer, Buffer>;
type Respond = (error: CallFailure | null, response?: Buffer) => void;

interface DataStream {
  readonly call: UplinkCall;
  readonly respond: Respond;
}

export class NodeSession {
  readonly id: string;
  readonly record: NodeRecord;
  readonly frameEpochMin: number;
  readonly history: HistoryQueries;
  readonly #writer: StreamWriter<Buffer>;
  readonly #data = new Map<'live' | 'history', DataStream>();
  readonly #ending = new AbortController();
  #closedBy: string | undefined;

  readonly #control: ServerDuplexStream<Buffer, Buffer>;
  readonly #registry: NodeRegistry;

  constructor(admission: Admission, control: ServerDuplexStream<Buffer, Buffer>, registry: NodeRegistry) {
    this.#control = control;
    this.#registry = registry;
    this.id = admission.session;
    this.record = admission.record;
    this.frameEpochMin = admission.frameEpochMin;
    this.#writer = callWriter(control, CONTROL_QUEUE_BYTES_MAX);
    this.history = new HistoryQueries(
      admission.record.name,
      (message) => this.send(message),
      (silence) => this.close(silence),
    );
    this.#writer.closed.addEventListener('abort', () => this.close('the control stream ended'));
  }

  sendInterest(generation: number, predicates: readonly PredicateSpec[]): void {
    this.send({ interest: { generation, predicates: predicates.map(predicateMessage) } });
  }

  /** @param base the generation that the node was told last */
  sendInterestChange(generation: number, base: number, { added, removed }: WantedChange): void {
    const ids = removed.map(String);
    this.send({ interestChange: { generation, base, added: added.map(predicateMessage), removed: ids } });
  }

  /** `covered`: by topic, the position up to which frames are durable. */
  acknowledge(covered: ReadonlyMap<string, Position>): void {
    const topics = Array.from(covered, ([topic, to]) => ({ topic, coveredTo: positionToMessage(to) }));
    this.send({ frameAck: { topics } });
  }

  send(message: ControlResponse): void {
    if (this.#closedBy !== undefined) return;
    try {
      if (this.#writer.tryWrite(controlResponseCodec.encode(message))) return;
      this.close(`the agent left ${CONTROL_QUEUE_BYTES_MAX} bytes of control messages unread`);
    } catch (cause) {
      this.close(asBackplaneError(cause).message);
    }
  }

  /** Takes a control message that follows Hello. Throws when it breaks the protocol. */
  receive(bytes: Buffer): void {
    const message = controlRequestCodec.decode(bytes, MESSAGE_BYTES_MAX);
    if (message.report) this.#registry.reported(this.record, message.report);
    else if (message.interestAck) {
      const { generation, position, errors } = message.interestAck;
      if (position === null) throw new BackplaneError('invalid_argument', 'interest_ack.position is missing');
      const failed = new Map(errors.map((error) => [BigInt(error.id), error.message.slice(0, 256)]));
      const at = positionFromMessage('interest_ack.position', position);
      checkEpoch('interest_ack.position', at, this.record.epoch);
      this.#registry.acknowledged(this.record, Number(generation), at, failed);
    } else throw new BackplaneError('invalid_argument', 'control: hello comes once, at the start');
  }

  /** Throws already_exists when the session has such a stream already, failed_precondition when it has ended. */
  attach(kind: 'live' | 'history', stream: DataStream): void {
    if (this.#closedBy !== undefined) throw new BackplaneError('failed_precondition', `session: ${this.#closedBy}`);
    if (this.#data.has(kind)) throw new BackplaneError('already_exists', `session has a ${kind} stream already`);
    this.#data.set(kind, stream);
    stream.call.on('cancelled', () => this.close(`the ${kind} stream was cancelled`));
    stream.call.on('end', () => this.close(`the ${kind} stream ended`));
  }

  get open(): boolean {
    return this.#closedBy === undefined;
  }

  /** Fires when the session has ended. */
  get closed(): AbortSignal {
    return this.#ending.signal;
  }

  /** Ends all three streams; later calls do nothing. The agent reconnects by itself. */
  close(reason: string, cause?: BackplaneError): void {
    if (this.#closedBy !== undefined) return;
    this.#closedBy = reason;
    this.#ending.abort();
    this.#registry.detach(this);
    this.history.close(`node ${this.record.name} went: ${reason}`);
    const error = cause ?? new BackplaneError('unavailable', reason);
    const status = callFailure(error);
    for (const { respond } of this.#data.values()) respond(status);
    this.#control.emit('error', status);
  }
}

function predicateMessage({ id, topics, filter, includeSelf, fields }: PredicateSpec) {
  return { id: id.toString(), topics: [...topics], filter, includeSelf, fields: [...fields] };
}
