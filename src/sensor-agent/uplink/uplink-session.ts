/** One session of the uplink: three streams that end together as soon as one of them ends. */
import type { ClientDuplexStream, ClientWritableStream, ServiceError } from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js';
import { clientError } from '../../client/client-error.js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { CreditBalance } from '../../flow/credit.js';
import {
  DATA_MESSAGE_OVERHEAD_BYTES,
  HISTORY_CREDIT_BYTES,
  NODE_MESSAGE_CHARACTERS_MAX,
  UNACKNOWLEDGED_BYTES_MAX,
  UPLINK_MESSAGE_BYTES_MIN,
  UPLINK_QUEUE_BYTES_MAX,
  UPLINK_QUEUE_MESSAGES_MAX,
} from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { encodeFrame, type Frame } from '../../wire/frame/frame.js';
import { lossToMessage } from '../../wire/frame/loss.js';
import { fitsLiveMessage, type HistoryMessage, SESSION_KEY, type UplinkClient } from '../../wire/grpc/rpc.js';
import {
  type ControlRequest,
  type ControlResponse__Output,
  type Hello,
  type HistoryQuery__Output,
  type Lease__Output,
  type NodeReport,
  nsToTimestamp,
  positionFromMessage,
  positionToMessage,
  type Welcome__Output,
} from '../../wire/messages.js';
import { comparePositions, type Position } from '../../wire/position.js';
import { checkProtocol, checkVersions, PROTOCOL } from '../../wire/protocol.js';
import type { HistoryReply, HistoryTask } from '../history/history-service.js';
import type { HistoryResult } from '../history/history-window.js';
import type { FrameLink, WelcomeTopic } from '../publish/publisher.js';
import { type AskedInterest, AskedPredicates } from './asked-predicates.js';
import { acknowledgedTopics, checkedEpoch, checkedPredicates, checkedWindow } from './broker-checks.js';

/** The node that a session serves. */
export interface UplinkNode {
  /** Called after Welcome. Control messages are read only once it resolves. */
  connected(link: FrameLink, covered: readonly WelcomeTopic[], epochMin: number): Promise<void>;
  disconnected(): void;
  /**
   * Puts an interest in force. Returns the position from which it holds, and the predicates that cannot be evaluated.
   */
  interest(
    generation: bigint,
    predicates: readonly PredicateSpec[],
  ): { position: Position; errors: readonly { id: bigint; message: string }[] };
  /** Throws when the broker breaks the protocol; a query that cannot be answered ends with an error instead. */
  history(queryId: number, request: HistoryTask, creditBytes: number, reply: HistoryReply): void;
  lease(lease: Lease__Output): void;
  /** How long live events may gather; 0: as the settings say. */
  linger(lingerMs: number): void;
  /** How long live events gather at least. */
  leastLinger(lingerMs: number): void;
  credit(queryId: number, bytes: number): void;
  cancel(queryId: number): void;
  readonly source: string;
}

interface Writable<Message> {
  readonly writableLength: number;
  write(message: Message, taken: () => void): void;
}

interface Sent {
  readonly topic: string;
  readonly coveredTo: Position;
  readonly bytes: number;
}

type Control = ClientDuplexStream<ControlRequest, ControlResponse__Output>;

export class UplinkSession implements FrameLink, HistoryReply {
  /** Resolves when any of the streams has ended. */
  readonly ended: Promise<void>;
  /** Why it ended. */
  failure = new BackplaneError('unavailable', 'the broker closed the connection');
  #end!: () => void;
  #isOver = false;
  #live: ClientWritableStream<readonly Buffer[]>;
  #history: ClientWritableStream<HistoryMessage>;
  #sent: Sent[] = [];
  #sentBytes = 0;
  /** Frames of this turn, which go out together. */
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  /**
   * Bytes that the local socket still takes of live frames, and (in `room`) of history. Acknowledgements and credit are
   * only the broker's word, so they cannot bound the queue.
   */
  readonly #liveRoom = new CreditBalance(UPLINK_QUEUE_BYTES_MAX);
  readonly room = new CreditBalance(UPLINK_QUEUE_BYTES_MAX);

  readonly #asked = new AskedPredicates();

  readonly #control: Control;
  readonly #node: UplinkNode;

  private constructor(
    control: Control,
    client: UplinkClient,
    readonly id: string,
    node: UplinkNode,
  ) {
    this.#control = control;
    this.#node = node;
    this.ended = new Promise((resolve) => {
      this.#end = () => {
        this.#isOver = true;
        resolve();
      };
    });
    const metadata = new Metadata();
    metadata.set(SESSION_KEY, id);
    this.#live = client.live(metadata, (error) => this.#fail(error));
    this.#history = client.history(metadata, (error) => this.#fail(error));
    for (const stream of [control, this.#live, this.#history])
      stream.on('error', (error: ServiceError) => this.#fail(error));
    control.on('end', () => this.#fail(null));
    control.on('data', (message: ControlResponse__Output) => this.#receive(message));
    void this.ended.then(() => this.#tearDown());
  }

  /**
   * Says Hello, waits for Welcome and for the node to take it. Throws `unavailable`, what the broker refused with, or
   * what the node throws; then no stream is left open.
   */
  static async open(
    client: UplinkClient,
    hello: Hello,
    node: UplinkNode,
    deadline: AbortSignal,
  ): Promise<UplinkSession> {
    const control = client.control(new Metadata());
    let session: UplinkSession | undefined;
    try {
      control.write({ hello: { ...hello, protocol: PROTOCOL, interestChanges: true } });
      const welcome = await firstWelcome(control, deadline);
      checkProtocol('the broker', welcome.protocol);
      checkVersions('the broker', welcome.version, hello.version ?? '');
      const epochMin = checkedEpoch(welcome.epochMin);
      const covered = (welcome.covered ?? []).flatMap(({ topic, to, resume, frameEnd }) =>
        to ? [{ topic, to: positionFromMessage('welcome.covered.to', to), resume, frameEnd }] : [],
      );
      session = new UplinkSession(control, client, welcome.session, node);
      await node.connected(session, covered, epochMin);
      control.resume();
      return session;
    } catch (cause) {
      // Closing the channel ends no call, so a session without an owner would stay until the broker ends it.
      if (session) session.#end();
      else control.cancel();
      throw cause;
    }
  }

  get writable(): boolean {
    return this.#sentBytes < UNACKNOWLEDGED_BYTES_MAX && this.#liveRoom.available > 0;
  }

  send(frame: Frame): number {
    const bytes = encodeFrame(frame);
    this.#sent.push({ topic: frame.topic, coveredTo: frame.coveredTo, bytes: bytes.length });
    this.#sentBytes += bytes.length;
    this.#liveRoom.take(bytes.length);
    if (!fitsLiveMessage(this.#gathered.length, this.#gatheredBytes, bytes.length)) this.#post();
    if (this.#gathered.length === 0) queueMicrotask(() => this.#post());
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.length;
    return bytes.length + DATA_MESSAGE_OVERHEAD_BYTES;
  }

  /** Each message costs both sides more than what is in it. */
  #post(): void {
    if (this.#gathered.length === 0) return;
    const [frames, bytes] = [this.#gathered, this.#gatheredBytes];
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#write(this.#live, frames, () => this.#liveRoom.add(bytes));
  }

  report(report: NodeReport): void {
    this.#write(this.#control, { report });
  }

  frame(queryId: number, frameBytes: Buffer): void {
    // The queue is bounded in messages as well, and frames are short where topics alternate or few fields are asked for.
    const taken = Math.max(frameBytes.length, UPLINK_MESSAGE_BYTES_MIN);
    this.room.take(taken);
    this.#write(this.#history, { queryId, frameBytes }, () => this.room.add(taken));
  }

  end(queryId: number, answer: HistoryResult): void {
    this.#write(this.#history, {
      queryId,
      end: {
        coveredFrom: nsToTimestamp(answer.coveredFromNs),
        coveredTo: nsToTimestamp(answer.coveredToNs),
        evicted: answer.evicted,
        beginsLater: answer.beginsLater,
        lost: answer.lost,
        lostUnknown: answer.lostUnknown,
        losses: answer.losses.map(lossToMessage),
        damagedBytes: answer.damagedBytes,
        late: answer.late,
        eventsScanned: answer.entriesScanned,
        incomplete: answer.incomplete,
        message: answer.message,
        source: this.#node.source,
        reached: positionToMessage(answer.reached),
      },
    });
  }

  fail(queryId: number, error: BackplaneError): void {
    const message = error.message.slice(0, NODE_MESSAGE_CHARACTERS_MAX);
    const displaced = error.details.retryAfterMs !== undefined;
    this.#write(this.#history, { queryId, end: { error: message, displaced, source: this.#node.source } });
  }

  /** Ends the session; frames that are not acknowledged yet stay so, as the recorder still has their events. */
  async close(): Promise<void> {
    this.failure = new BackplaneError('cancelled', 'closed by the agent');
    this.#post();
    this.#live.end();
    this.#history.end();
    this.#control.end();
    this.#end();
  }

  #fail(error: ServiceError | null): void {
    // What follows is of streams that this side cancels then.
    if (error && !this.#isOver) this.failure = refusal(error);
    this.#end();
  }

  #tearDown(): void {
    this.#node.disconnected();
    this.#live.cancel();
    this.#history.cancel();
    this.#control.cancel();
  }

  #write<Message>(stream: Writable<Message>, message: Message, taken = () => {}): void {
    if (stream.writableLength >= UPLINK_QUEUE_MESSAGES_MAX) {
      this.failure = new BackplaneError('unavailable', `the broker left ${UPLINK_QUEUE_MESSAGES_MAX} messages unread`);
      this.#end();
      return;
    }
    stream.write(message, taken);
  }

  #receive(message: ControlResponse__Output): void {
    try {
      if (message.interest) this.#ask(this.#asked.whole(message.interest));
      else if (message.interestChange) this.#ask(this.#asked.change(message.interestChange));
      else if (message.frameAck) this.#acknowledged(acknowledgedTopics(message.frameAck.topics));
      else if (message.lease) this.#node.lease(message.lease);
      else if (message.leastLinger) this.#node.leastLinger(message.leastLinger.lingerMs);
      else if (message.linger) this.#node.linger(message.linger.lingerMs);
      else if (message.historyQuery) this.#query(message.historyQuery);
      else if (message.historyCredit) {
        this.#node.credit(Number(message.historyCredit.queryId), Number(message.historyCredit.bytes));
      } else if (message.historyCancel) this.#node.cancel(Number(message.historyCancel.queryId));
    } catch (cause) {
      const { code, message } = asBackplaneError(cause);
      this.failure = new BackplaneError(code, `a control message was refused: ${message}`);
      this.#end();
    }
  }

  #ask({ generation, predicates }: AskedInterest): void {
    const { position, errors } = this.#node.interest(BigInt(generation), predicates);
    this.#write(this.#control, {
      interestAck: {
        generation,
        position: positionToMessage(position),
        errors: errors.map(({ id, message }) => ({ id: id.toString(), message })),
      },
    });
  }

  #query(query: HistoryQuery__Output): void {
    const queryId = Number(query.queryId);
    let request: HistoryTask;
    try {
      request = { predicates: checkedPredicates(query), window: checkedWindow(query) };
    } catch (cause) {
      this.fail(queryId, asBackplaneError(cause));
      return;
    }
    this.#node.history(queryId, request, Number(query.creditBytes) || HISTORY_CREDIT_BYTES, this);
  }

  #acknowledged(covered: ReadonlyMap<string, Position>): void {
    this.#sent = this.#sent.filter((frame) => {
      const to = covered.get(frame.topic);
      const acknowledged = to !== undefined && comparePositions(frame.coveredTo, to) <= 0;
      if (acknowledged) this.#sentBytes -= frame.bytes;
      return !acknowledged;
    });
  }
}

/** What the broker refused with. What the library says of a connection is left whole, for secureTrouble(). */
function refusal(error: ServiceError): BackplaneError {
  const refused = clientError(error);
  if (refused.code !== 'unavailable') return refused;
  return new BackplaneError('unavailable', error.details || error.message, refused.details);
}

function firstWelcome(control: Control, deadline: AbortSignal): Promise<Welcome__Output> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => () => {
      deadline.removeEventListener('abort', late);
      control.removeAllListeners('data');
      act();
    };
    const late = settle(() => {
      control.cancel();
      reject(new BackplaneError('unavailable', 'the broker did not answer in time'));
    });
    deadline.addEventListener('abort', late);
    control.once('data', (message: ControlResponse__Output) => {
      control.pause();
      settle(() => {
        if (message.welcome) resolve(message.welcome);
        else reject(new BackplaneError('unavailable', 'the broker did not begin with a welcome'));
      })();
    });
    // For good: cancelling a refused session is an error of its stream too.
    control.on('error', (error: ServiceError) => settle(() => reject(refusal(error)))());
    control.once('end', () =>
      settle(() => reject(new BackplaneError('unavailable', 'the broker closed the connection')))(),
    );
  });
}
