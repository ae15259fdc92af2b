/**
 * The protocol's definition, loaded once from the .proto files that ship with
 * the package, and one codec per message. Objects have longs as decimal
 * strings, enums as their names, bytes as Buffer, unset messages as null.
 */
import { loadSync, type MessageTypeDefinition, type PackageDefinition } from '@grpc/proto-loader';
import { BackplaneError } from '../errors.js';
import { packageFile } from '../package-files.js';

/** Used for the service definitions. */
export const packageDefinition: PackageDefinition = loadSync(
  ['backplane/v1/uplink.proto', 'backplane/v1/subscription.proto'],
  { includeDirs: [packageFile('proto')], longs: String, enums: String, defaults: true, oneofs: true },
);

export interface MessageCodec<In extends object, Out> {
  encode(message: In): Buffer;
  /** Throws invalid_argument when the bytes do not encode such a message or are more than `bytesMax`. */
  decode(bytes: Buffer, bytesMax: number): Out;
}

/** `name` is that of a message in backplane.v1. */
export function messageCodec<In extends object, Out>(name: string): MessageCodec<In, Out> {
  const definition = packageDefinition[`backplane.v1.${name}`] as MessageTypeDefinition<In, Out> | undefined;
  if (definition === undefined) throw new BackplaneError('internal', `backplane.v1 has no message ${name}`);
  return {
    encode: (message) => definition.serialize(message),
    decode(bytes, bytesMax) {
      if (bytes.length > bytesMax) {
        throw new BackplaneError('invalid_argument', `${name} must be at most ${bytesMax} bytes, got ${bytes.length}`);
      }
      try {
        return definition.deserialize(bytes);
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new BackplaneError('invalid_argument', `${name} cannot be decoded: ${reason}`);
      }
    },
  };
}
