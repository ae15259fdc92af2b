/** The agents' side of the broker: three streams per node (see uplink.proto). */
import type { ServerDuplexStream, sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import type { TokenBucket } from '../../flow/token-bucket.js';
import {
  ACKNOWLEDGED_BYTES,
  ACKNOWLEDGED_INTERVAL_MS,
  ACKNOWLEDGED_MS_MAX,
  HELLO_MS,
  MESSAGE_BYTES_MAX,
  UNACKNOWLEDGED_BYTES_MAX,
} from '../../limits.js';

import { checkName } from '../../subscriptions/request/names.js';
import { TOPICS } from '../../wire/event/event.js';
import { decodeLiveMessage, SESSION_KEY } from '../../wire/grpc/rpc.js';
import { type CallFailure, callFailure } from '../../wire/grpc/status-details.js';
import { controlRequestCodec, emptyCodec, positionToMessage } from '../../wire/messages.js';
import type { Position } from '../../wire/position.js';
import { checkProtocol, checkVersions, PROTOCOL } from '../../wire/protocol.js';
import type { AgentAccess, GreetedNode } from '../access/agent-access.js';
import { addressOf } from '../access/peer-address.js';
import type { Movable } from '../balance.js';
import { partitionOf } from '../log/partition-log.js';
import type { NodeBudgets } from '../nodes/node-budgets.js';
import type { Admission, NodeRegistry } from '../nodes/node-registry.js';
import { NodeSession, type UplinkCall } from '../nodes/node-session.js';
import { arrivalOf, type Leaving } from '../retirement.js';
import type { Ingest } from './ingest.js';

type UplinkAccess = Pick<AgentAccess, 'greet' | 'isSame' | 'whyOver'>;
type ControlCall = ServerDuplexStream<Buffer, Buffer>;

interface Served {
  readonly session: NodeSession;
  readonly greeted: GreetedNode;
  /** performance.now() */
  readonly sinceMs: number;
}

export class UplinkService {
  readonly #sessions = new Map<string, Served>();
  /** Why new sessions are refused. */
  #refusal: string | undefined;
  /** Likewise, for a while. */
  #away: string | undefined;

  readonly #registry: NodeRegistry;
  readonly #budgets: NodeBudgets;
  readonly #ingest: Ingest;
  readonly #onRefusal: (what: string, error: BackplaneError) => void;
  readonly #access: UplinkAccess;
  /** Of this broker. */
  readonly #version: string;
  /** Ends the session that the node has at another broker. */
  readonly #takeOver: (node: string) => Promise<void>;

  constructor(
    registry: NodeRegistry,
    budgets: NodeBudgets,
    ingest: Ingest,
    onRefusal: (what: string, error: BackplaneError) => void,
    access: UplinkAccess,
    version: string,
    takeOver: (node: string) => Promise<void> = async () => undefined,
  ) {
    this.#access = access;
    this.#version = version;
    this.#takeOver = takeOver;
    this.#registry = registry;
    this.#budgets = budgets;
    this.#ingest = ingest;
    this.#onRefusal = onRefusal;
  }

  handlers(): UntypedServiceImplementation {
    return {
      Control: (call: ControlCall) => this.#control(call),
      Live: (call: UplinkCall, respond: sendUnaryData<Buffer>) => this.#live(call, respond),
      History: (call: UplinkCall, respond: sendUnaryData<Buffer>) => this.#history(call, respond),
    };
  }

  /** Refuses new sessions and ends the existing ones. */
  drain(): void {
    this.#refusal = 'the broker is shutting down';
    this.#registry.closeSessions(this.#refusal);
  }

  retire(): readonly Leaving[] {
    const reason = 'the broker is retired: connect to another one';
    this.#refusal ??= reason;
    // Each in its turn, so that it need not wait.
    const cause = new BackplaneError('unavailable', reason, { retryAfterMs: 0 });
    return Array.from(this.#sessions.values(), ({ session }) => this.#moving(session, reason, cause));
  }

  /** Number of nodes that are connected here. */
  connected(): number {
    return this.#sessions.size;
  }

  /** Those that may go to another broker, as far as is known here. */
  movable(): readonly Movable[] {
    const reason = 'the broker has more nodes than the others: connect to another one';
    const cause = new BackplaneError('unavailable', reason, { retryAfterMs: 0 });
    return Array.from(this.#sessions.values())
      .filter(({ session: { record } }) => record.hello?.prefersBroker !== true)
      .map(({ session, sinceMs }) => {
        const isBack = () => !session.open && this.#registry.session(session.record.name) !== undefined;
        return { ...this.#moving(session, reason, cause), sinceMs, isBack };
      });
  }

  #moving(session: NodeSession, reason: string, cause: BackplaneError): Required<Leaving> {
    const { record } = session;
    const coveredTo = () => this.#registry.coveredTo(record.name, Object.keys(TOPICS));
    let hasArrived = () => false;
    return {
      leave: () => {
        hasArrived = arrivalOf({ isElsewhere: () => record.isElsewhere, coveredTo });
        session.close(reason, cause);
      },
      hasArrived: () => hasArrived(),
    };
  }

  /** Refuses new sessions until takeAgain(). Returns those there are; where they arrive this broker does not hear. */
  turnAway(reason: string): readonly Leaving[] {
    this.#away = reason;
    return Array.from(this.#sessions.values(), ({ session }) => ({ leave: () => session.close(reason) }));
  }

  takeAgain(): void {
    this.#away = undefined;
  }

  /** Ends sessions of agents that may no longer be connected. */
  review(): void {
    for (const { session, greeted } of this.#sessions.values()) {
      const reason = this.#access.whyOver(greeted);
      if (reason !== undefined) this.#end(session, reason);
    }
  }

  #control(call: ControlCall): void {
    let session: NodeSession | undefined;
    let greeted = false;
    let isOver = false;
    const refuse = (cause: unknown) => {
      const error = asBackplaneError(cause);
      // While none is taken each agent tries several times a second: that it retired is said once.
      if (error.message !== this.#refusal && error.message !== this.#away) {
        this.#onRefusal(session ? `node ${session.record.name}` : 'an agent', error);
      }
      if (session) session.close(error.message, error);
      else call.emit('error', callFailure(error));
    };
    const helloTimer = setTimeout(() => {
      refuse(new BackplaneError('failed_precondition', `control: hello must come within ${HELLO_MS} ms`));
    }, HELLO_MS);
    call.on('data', (bytes: Buffer) => {
      try {
        if (session) session.receive(bytes);
        else if (greeted) throw new BackplaneError('failed_precondition', 'control: nothing may come before welcome');
        else {
          greeted = true;
          clearTimeout(helloTimer);
          this.#begin(call, bytes, () => isOver).then((begun) => {
            session = begun;
          }, fail);
        }
      } catch (cause) {
        fail(cause);
      }
    });
    const fail = (cause: unknown) => {
      call.removeAllListeners('data');
      call.resume();
      if (!isOver) refuse(cause);
    };
    const over = () => {
      isOver = true;
      clearTimeout(helloTimer);
      if (session) {
        this.#sessions.delete(session.id);
        session.close('the control stream ended');
      }
    };
    for (const event of ['end', 'cancelled', 'close']) call.on(event, over);
    // refuse() emits the error that it sends, and it has reported it already.
    call.on('error', over);
  }

  /** Resolves with undefined when the stream ended before the session began. */
  async #begin(call: ControlCall, bytes: Buffer, isOver: () => boolean): Promise<NodeSession | undefined> {
    this.#checkOpen();
    const { hello: said } = controlRequestCodec.decode(bytes, MESSAGE_BYTES_MAX);
    if (!said) throw new BackplaneError('failed_precondition', 'control: the first message must be hello');
    // Of the node's name what its identity says counts, whatever the message does.
    const greeted = this.#access.greet(call, said.node);
    const hello = { ...said, node: greeted.node };
    checkName('hello.node', hello.node);
    const agent = `the agent of node ${hello.node}`;
    checkProtocol(agent, hello.protocol);
    checkVersions(agent, hello.version, this.#version);
    this.#registry.makeWay(hello);
    await this.#takeOver(hello.node);
    // Frames of the earlier session may still be pending. The welcome must state where the log ends after them.
    await this.#ingest.settled(hello.node);
    if (isOver()) return undefined;
    this.#checkOpen();
    const admission = this.#registry.admit(hello, addressOf(call.getPeer()));
    const session = new NodeSession(admission, call, this.#registry);
    this.#sessions.set(session.id, { session, greeted, sinceMs: performance.now() });
    session.send({ welcome: this.#welcome(admission) });
    const lease = this.#budgets.first(session.record);
    if (lease) session.send(lease);
    this.#registry.attach(session);
    return session;
  }

  #checkOpen(): void {
    const refusal = this.#refusal ?? this.#away;
    if (refusal !== undefined) throw new BackplaneError('unavailable', refusal);
  }

  #welcome({ session, covered, epochMin }: Admission) {
    return {
      session,
      covered: covered.map(({ to, ...rest }) => ({ ...rest, to: positionToMessage(to) })),
      epochMin,
      protocol: PROTOCOL,
      version: this.#version,
    };
  }

  #live(call: UplinkCall, respond: sendUnaryData<Buffer>): void {
    const session = this.#attach('live', call, respond);
    if (session === undefined) return;
    const acknowledgements = new Acknowledgements(session);
    let pendingBytes = 0;
    let heldFrames = 0;
    /** Messages that have not had their turn. */
    let waiting = 0;
    const pace = new Pace(call, this.#budgets.meter(session.record, 'live'), session.closed, () => {
      return heldFrames === 0 && waiting === 0 && pendingBytes <= UNACKNOWLEDGED_BYTES_MAX;
    });
    const takeMessage = (bytes: Buffer, free: () => void) => {
      // A stream with a held frame is not read either, so that held frames stay bounded; others need not wait for it.
      const onHeld = (held: boolean) => {
        heldFrames += held ? 1 : -1;
        if (held) {
          call.pause();
          free();
        } else pace.goOn();
      };
      let left = 1;
      const settled = () => {
        left -= 1;
        if (left > 0) return;
        pendingBytes -= bytes.length;
        free();
        pace.goOn();
      };
      try {
        for (const frameBytes of session.open ? decodeLiveMessage(bytes) : []) {
          this.#take(session, frameBytes, onHeld, acknowledgements).then(settled);
          left += 1;
        }
      } catch (cause) {
        this.#end(session, cause);
      }
      settled();
    };
    call.on('data', (bytes: Buffer) => {
      if (!session.open) return;
      session.record.uplinkBytes += bytes.length;
      // By message: each of its frames keeps all of it in memory.
      pendingBytes += bytes.length;
      waiting += 1;
      this.#ingest.intake.take(partitionOf(session.record.name), bytes.length, (free) => {
        waiting -= 1;
        takeMessage(bytes, free);
        pace.goOn();
      });
      // A correct agent respects this bound by itself; one that does not is not read until frames are durable.
      if (waiting > 0 || pendingBytes > UNACKNOWLEDGED_BYTES_MAX) call.pause();
      pace.took(bytes.length);
    });
  }

  /** Resolves when the frame is in the log, or the session has ended over it. Throws what Ingest.accept throws. */
  #take(
    session: NodeSession,
    frameBytes: Buffer,
    onHeld: (held: boolean) => void,
    acknowledgements: Acknowledgements,
  ): Promise<void> {
    const { record } = session;
    const { topic, coveredTo, durable, refusal } = this.#ingest.accept(session, frameBytes, onHeld);
    if (refusal) {
      const told = `${refusal.message}; it is stated as a gap`;
      this.#onRefusal(`node ${record.name}`, new BackplaneError('invalid_argument', told));
    }
    return durable.then(
      (isDurable) => {
        if (!isDurable) return;
        this.#registry.delivered(record);
        acknowledgements.add(topic, coveredTo, frameBytes.length);
      },
      (cause) => this.#end(session, cause),
    );
  }

  #history(call: UplinkCall, respond: sendUnaryData<Buffer>): void {
    const session = this.#attach('history', call, respond);
    if (session === undefined) return;
    const pace = new Pace(call, this.#budgets.meter(session.record, 'history'), session.closed, () => true);
    call.on('data', (bytes: Buffer) => {
      if (!session.open) return;
      try {
        session.record.uplinkBytes += bytes.length;
        pace.took(bytes.length);
        session.history.receive(bytes);
      } catch (cause) {
        this.#end(session, cause);
      }
    });
  }

  #attach(kind: 'live' | 'history', call: UplinkCall, respond: sendUnaryData<Buffer>): NodeSession | undefined {
    let responded = false;
    const once = (error: CallFailure | null) => {
      if (responded) return;
      responded = true;
      respond(error, emptyCodec.encode({}));
    };
    try {
      const id = call.metadata.get(SESSION_KEY)[0];
      const known = typeof id === 'string' ? this.#sessions.get(id) : undefined;
      const session = known?.session;
      // A session of somebody else is as unknown as none.
      if (known === undefined || session === undefined || !this.#access.isSame(call, known.greeted)) {
        throw new BackplaneError('failed_precondition', `${kind}: metadata ${SESSION_KEY} names no open session`);
      }
      session.attach(kind, { call, respond: once });
      return session;
    } catch (cause) {
      once(callFailure(asBackplaneError(cause)));
      call.resume();
      return undefined;
    }
  }

  #end(session: NodeSession, cause: unknown): void {
    if (!session.open) return;
    const error = asBackplaneError(cause);
    this.#onRefusal(`node ${session.record.name}`, error);
    session.close(error.message, error);
  }
}

/** Pauses a data stream while its node is over its budget, and resumes it when `free` allows that too. */
class Pace {
  #waiting = false;

  readonly #call: UplinkCall;
  readonly #meter: TokenBucket;
  readonly #closed: AbortSignal;
  readonly #free: () => boolean;

  constructor(call: UplinkCall, meter: TokenBucket, closed: AbortSignal, free: () => boolean) {
    this.#call = call;
    this.#meter = meter;
    this.#closed = closed;
    this.#free = free;
    this.took(0);
  }

  took(bytes: number): void {
    this.#meter.take(bytes);
    if (this.#waiting || this.#meter.level >= 0) return;
    this.#waiting = true;
    this.#call.pause();
    // positive() checks the level repeatedly, because the budget may be raised during the wait.
    void this.#meter.positive(this.#closed).then(() => {
      this.#waiting = false;
      this.goOn();
    });
  }

  goOn(): void {
    if (!this.#waiting && this.#free()) this.#call.resume();
  }
}

/**
 * Tells the agent how far its frames are durable: at once after a silence, else every now and then, as each message wakes
 * the agent. One message has each topic's last position.
 */
class Acknowledgements {
  readonly #pending = new Map<string, Position>();
  #pendingBytes = 0;
  #toldMs = Number.NEGATIVE_INFINITY;
  #next: NodeJS.Immediate | undefined;
  #latest: NodeJS.Timeout | undefined;

  readonly #session: NodeSession;

  constructor(session: NodeSession) {
    this.#session = session;
  }

  add(topic: string, coveredTo: Position, bytes: number): void {
    this.#pending.set(topic, coveredTo);
    this.#pendingBytes += bytes;
    const waits =
      this.#pendingBytes < ACKNOWLEDGED_BYTES && performance.now() - this.#toldMs < ACKNOWLEDGED_INTERVAL_MS;
    // Mostly a later frame comes before: then it is told in a turn that there is anyway.
    if (waits) this.#latest ??= setTimeout(() => this.#tell(), ACKNOWLEDGED_MS_MAX).unref();
    // With the others that became durable in this turn.
    else this.#next ??= setImmediate(() => this.#tell());
  }

  #tell(): void {
    clearTimeout(this.#latest);
    clearImmediate(this.#next);
    this.#latest = undefined;
    this.#next = undefined;
    this.#pendingBytes = 0;
    this.#toldMs = performance.now();
    this.#session.acknowledge(this.#pending);
    this.#pending.clear();
  }
}
