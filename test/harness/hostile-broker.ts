/** A gRPC server that speaks the Uplink service and says to agents whatever a test wants, and reads as it is told. */
import { Server, ServerCredentials, type ServerDuplexStream, type ServerReadableStream } from '@grpc/grpc-js';
import { MESSAGE_BYTES_MAX } from '../../src/limits.js';
import {
  decodeHistoryMessage,
  decodeLiveMessage,
  type ReceivedHistoryMessage,
  rawService,
} from '../../src/wire/grpc/rpc.js';
import {
  type ControlRequest__Output,
  type ControlResponse,
  controlRequestCodec,
  controlResponseCodec,
} from '../../src/wire/messages.js';
import { PROTOCOL } from '../../src/wire/protocol.js';

type Control = ServerDuplexStream<Buffer, Buffer>;
type Data = ServerReadableStream<Buffer, Buffer>;

/** One agent's connection, from its Hello on. */
export class HostileSession {
  readonly heard: ControlRequest__Output[] = [];
  readonly frames: Buffer[] = [];
  readonly history: ReceivedHistoryMessage[] = [];
  live: Data | undefined;
  historyCall: Data | undefined;
  ended = false;

  constructor(readonly control: Control) {}

  say(...messages: ControlResponse[]): void {
    for (const message of messages) this.control.write(controlResponseCodec.encode(message));
  }
}

export class HostileBroker {
  readonly sessions: HostileSession[] = [];
  /** The answer to the next Hellos. */
  /** Says this version of the protocol, unless it says another one. */
  welcome: ControlResponse = { welcome: { session: 's' } };
  address = '';
  readonly #server = new Server();

  static async start(): Promise<HostileBroker> {
    const broker = new HostileBroker();
    broker.#server.addService(rawService('Uplink'), {
      Control: (call: Control) => broker.#control(call),
      Live: (call: Data) => {
        const session = broker.sessions.at(-1);
        if (session) session.live = call;
        call.on('data', (bytes: Buffer) => session?.frames.push(...decodeLiveMessage(bytes)));
        call.on('error', () => undefined);
      },
      History: (call: Data) => {
        const session = broker.sessions.at(-1);
        if (session) session.historyCall = call;
        call.on('data', (bytes: Buffer) => session?.history.push(decodeHistoryMessage(bytes)));
        call.on('error', () => undefined);
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      broker.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    broker.address = `127.0.0.1:${port}`;
    return broker;
  }

  /** The newest, if the agent is connected. */
  get session(): HostileSession | undefined {
    const session = this.sessions.at(-1);
    return session?.ended ? undefined : session;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  #control(call: Control): void {
    const session = new HostileSession(call);
    for (const event of ['end', 'cancelled', 'error', 'close']) {
      call.on(event, () => {
        session.ended = true;
      });
    }
    call.on('data', (bytes: Buffer) => {
      const message = controlRequestCodec.decode(bytes, MESSAGE_BYTES_MAX);
      session.heard.push(message);
      if (!message.hello) return;
      this.sessions.push(session);
      const { welcome } = this.welcome;
      session.say(welcome ? { welcome: { protocol: PROTOCOL, ...welcome } } : this.welcome);
    });
  }
}
