/** Bounds what callers do not read of answers that are no streams: the library would keep all of it. */
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { WaitingAnswers } from '../../flow/connection-places.js';
import { ANSWERS_WAITING_BYTES_MAX } from '../../limits.js';
import { connectionOf } from './session-pings.js';

/** The connection by which an answer goes. */
interface Answer {
  connection: ReturnType<typeof connectionOf>;
}

/**
 * For a server whose connections have names: see nameConnections().
 * @param bytesMax of all its connections together; beyond it the one ends whose answer waits for longest
 */
export function boundAnswers(bytesMax = ANSWERS_WAITING_BYTES_MAX): ServerInterceptor {
  const waiting = new WaitingAnswers<Answer>(bytesMax, ({ connection }) => connection?.end());
  return ({ responseStream }, call) => {
    if (responseStream) return new ServerInterceptingCall(call);
    const answer: Answer = { connection: undefined };
    let isOver = false;
    const over = () => {
      isOver = true;
      waiting.taken(answer);
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            answer.connection = connectionOf(metadata);
            pass(metadata);
          },
          onCancel: over,
        }),
      sendMessage: (message: unknown, pass) => {
        if (!isOver && Buffer.isBuffer(message)) waiting.add(answer, message.length);
        pass(message);
      },
      // The library sends it once the message was taken.
      sendStatus: (status, pass) => {
        over();
        pass(status);
      },
    });
  };
}
