/**
 * A batch as a message of a stream: the bytes of a record (see document-batch.ts), compressed where they would be more than a
 * message may have. So it is there whole or not at all.
 *
 *   Bp-Id       := names the message: one that was sent again after a lost answer may be stored twice
 *   Bp-Encoding := "deflate", where it is compressed
 */
import { promisify } from 'node:util';
import { deflateRaw, inflateRawSync } from 'node:zlib';
import type { MsgHdrs } from 'nats';
import { BackplaneError } from '../../../errors.js';
import { DOCUMENT_MESSAGE_BYTES_MAX } from '../../../limits.js';
import type { ReceivedHeaders } from '../../nats/header-text.js';
import { headers, nuid } from '../../nats/nats-library.js';
import { decodeBatch, encodeBatch, type NewBatch } from './document-batch.js';

const [ID, ENCODING] = ['Bp-Id', 'Bp-Encoding'];
const DEFLATE = 'deflate';
/** Subject, id, and what is expected. */
const HEADER_BYTES_MAX = 1024;
const deflated = promisify(deflateRaw);

export interface DocumentMessage {
  readonly id: string;
  readonly headers: MsgHdrs;
  readonly payload: Buffer;
}

/** Rejects with too_large for what is too long compressed, too. @param payloadMax what the servers take */
export async function documentMessage(batch: NewBatch, payloadMax: number): Promise<DocumentMessage> {
  const bytes = encodeBatch(batch);
  const bytesMax = payloadMax - HEADER_BYTES_MAX;
  const isLong = bytes.length > bytesMax;
  const payload = isLong ? await deflated(bytes) : bytes;
  if (payload.length > bytesMax || bytes.length > DOCUMENT_MESSAGE_BYTES_MAX) {
    const problem = `events: NATS takes at most ${bytesMax} bytes of a batch at once, got ${payload.length}`;
    throw new BackplaneError('too_large', `${problem} (${bytes.length} uncompressed): send them in several batches`);
  }
  const written = headers();
  const id = nuid.next();
  written.set(ID, id);
  if (isLong) written.set(ENCODING, DEFLATE);
  return { id, headers: written, payload };
}

/** Empty where somebody else than a broker wrote it. */
export function messageIdOf(received: ReceivedHeaders | undefined): string {
  return received?.get(ID) ?? '';
}

/** Undefined for what no broker writes. */
export function readPayload(data: Uint8Array, received: ReceivedHeaders | undefined): NewBatch | undefined {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  try {
    const isLong = received?.get(ENCODING) === DEFLATE;
    return decodeBatch(isLong ? inflateRawSync(bytes, { maxOutputLength: DOCUMENT_MESSAGE_BYTES_MAX }) : bytes);
  } catch {
    return undefined;
  }
}
