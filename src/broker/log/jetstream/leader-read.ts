/**
 * Reads a stream without a consumer: its leader is asked for one message after the other. A consumer lives on one server.
 * Where that one dies another can be made only once the servers have a leader of all again, which takes seconds, while the
 * stream's own leader may never have stopped.
 */
import type { MsgHdrs } from 'nats';
import { timeNsOf } from '../../../wire/typed/json-values.js';
import type { NatsLink } from '../../nats/nats-link.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import { type Marks, markAt } from './marks.js';

/**
 * So many messages from a sequence on, or those before the first that is not there. None where the stream is not the one
 * that was read before, or cannot be asked.
 */
export async function readFromLeader(
  link: NatsLink,
  stream: string,
  from: number,
  marks: Marks,
  count: number,
): Promise<readonly StoredMessage[]> {
  try {
    const asked = Array.from({ length: count }, (_, at) => link.manager.streams.getMessage(stream, { seq: from + at }));
    const found = await Promise.all(asked);
    // Looked at afterwards: a stream that lost its end before it gave these messages has lost this one, too.
    const known = marks.of(from - 1);
    if (known !== undefined && known !== (await markAt(link, stream, from - 1))) return [];
    const messages: StoredMessage[] = [];
    for (const message of found) {
      if (message === null) break;
      const { subject, seq: sequence, data, timestamp } = message;
      // It is empty where a message has none.
      const headers: MsgHdrs | undefined = message.header;
      messages.push({ subject, sequence, data, bytes: data.length, timeNs: timeNsOf(timestamp), headers });
    }
    return messages;
  } catch {
    return [];
  }
}
