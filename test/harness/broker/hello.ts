/** The first message of a node, as a broker reads it. */
import { MiB } from '../../../src/limits.js';
import { controlRequestCodec, type Hello__Output } from '../../../src/wire/messages.js';

export function helloOf(node: string): Hello__Output {
  const bytes = controlRequestCodec.encode({ hello: { node, recorderId: `recorder-${node}`, epoch: 1 } });
  return controlRequestCodec.decode(bytes, MiB).hello!;
}
