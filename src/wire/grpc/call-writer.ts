/**
 * Writes to a gRPC call within a bound in bytes. Messages that wait are written together: each by itself takes a turn of the
 * event loop, and of a loaded process, whose turns are long, a stream would get a few dozen a second.
 */
import type { ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';
import { StreamWriter } from '../../flow/stream-writer.js';

/** @param call nothing of it was written yet */
export function callWriter(
  call: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
  bytesMax: number,
): StreamWriter<Buffer> {
  joinWrites(call);
  return new StreamWriter(call, { bytesMax, sizeOf: ({ length }) => length });
}

/** @param call nothing of it was written yet */
export function joinWrites(call: Pick<ServerWritableStream<unknown, unknown>, '_write' | '_writev'>): void {
  call._writev = (chunks, callback) => {
    let left = chunks.length;
    let failed: Error | null | undefined;
    const written = (error?: Error | null) => {
      left -= 1;
      failed ??= error;
      if (left === 0) callback(failed);
    };
    for (const { chunk, encoding } of chunks) call._write(chunk, encoding, written);
  };
}
