/**
 * The protocol's definition, read once from the .proto files that ship with the package, one codec per message and one
 * definition per service. Objects have longs as decimal strings, enums as their names, bytes as Buffer, unset messages
 * as null. It is protobufjs as `@grpc/proto-loader` has it, but for the descriptors that the loader makes of every
 * message: each start of a process would pay 0.1 s for them, and nobody reads them.
 */
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { BackplaneError } from '../errors.js';
import { packageFile } from '../package-files.js';

const PACKAGE = 'backplane.v1';
const FORM: protobuf.IConversionOptions = { longs: String, enums: String, defaults: true, oneofs: true };

const root = load();

function load(): protobuf.Root {
  const made = new protobuf.Root();
  made.resolvePath = (_importer, name) => packageFile(`proto/${name}`);
  made.loadSync(['backplane/v1/uplink.proto', 'backplane/v1/subscription.proto']).resolveAll();
  return made;
}

/** `name` is that of a message in backplane.v1. */
export function messageType(name: string): protobuf.Type {
  return root.lookupType(`${PACKAGE}.${name}`);
}

export interface MessageCodec<In extends object, Out> {
  encode(message: In): Buffer;
  /** Throws invalid_argument when the bytes do not encode such a message or are more than `bytesMax`. */
  decode(bytes: Buffer, bytesMax: number): Out;
}

/** `name` is that of a message in backplane.v1. */
export function messageCodec<In extends object, Out>(name: string): MessageCodec<In, Out> {
  const type = messageType(name);
  return {
    encode: (message) => encode(type, message),
    decode(bytes, bytesMax) {
      if (bytes.length > bytesMax) {
        throw new BackplaneError('invalid_argument', `${name} must be at most ${bytesMax} bytes, got ${bytes.length}`);
      }
      try {
        return decode(type, bytes) as Out;
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new BackplaneError('invalid_argument', `${name} cannot be decoded: ${reason}`);
      }
    },
  };
}

/** As gRPC takes it; `name` is that of a service in backplane.v1. */
export function serviceDefinition(name: string): ServiceDefinition {
  const { methodsArray } = root.lookupService(`${PACKAGE}.${name}`);
  return Object.fromEntries(methodsArray.map((method) => [method.name, methodDefinition(name, method)]));
}

function methodDefinition(service: string, method: protobuf.Method): MethodDefinition<object, object> {
  const { name, requestStream, responseStream, resolvedRequestType, resolvedResponseType } = method;
  const [request, response] = [resolvedRequestType!, resolvedResponseType!];
  return {
    path: `/${PACKAGE}.${service}/${name}`,
    requestStream: requestStream === true,
    responseStream: responseStream === true,
    requestSerialize: (message) => encode(request, message),
    requestDeserialize: (bytes) => decode(request, bytes),
    responseSerialize: (message) => encode(response, message),
    responseDeserialize: (bytes) => decode(response, bytes),
    originalName: name[0]!.toLowerCase() + name.slice(1),
  };
}

function encode(type: protobuf.Type, message: object): Buffer {
  return type.encode(type.fromObject(message)).finish() as Buffer;
}

function decode(type: protobuf.Type, bytes: Buffer): object {
  return type.toObject(type.decode(bytes), FORM);
}
