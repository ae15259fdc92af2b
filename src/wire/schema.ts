/**
 * The protocol's definition, read once from what the build made of the .proto files, one codec per message and one
 * definition per service. Objects have longs as decimal strings, enums as their names, bytes as Buffer, unset messages
 * as null. It is protobufjs as `@grpc/proto-loader` has it, but for the descriptors that the loader makes of every
 * message: each start of a process would pay 0.1 s for them, and nobody reads them. Its functions per message are made by
 * the build (scripts/codecs.js), not at run time.
 */
import { readFileSync } from 'node:fs';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs/light.js';
import { BackplaneError } from '../errors.js';
import { builtFile } from '../package-files.js';
import { CODECS } from './gen/codecs.js';
import { readMessage } from './json-reader.js';

const PACKAGE = 'backplane.v1';
const FORM: protobuf.IConversionOptions = { longs: String, enums: String, defaults: true, oneofs: true };

const root = protobuf.Root.fromJSON(JSON.parse(readFileSync(builtFile('descriptors/backplane.json'), 'utf8')));
root.resolveAll();
useCompiled(root);

/** Has the types take their functions from the build when they are first needed. */
function useCompiled(namespace: protobuf.NamespaceBase): void {
  for (const nested of namespace.nestedArray) {
    if (nested instanceof protobuf.Type) nested.setup = () => setUp(nested);
    if (nested instanceof protobuf.Namespace) useCompiled(nested);
  }
}

type Functions = Pick<protobuf.Type, 'encode' | 'decode' | 'fromObject' | 'toObject'>;
interface Scope extends Pick<typeof protobuf, 'Writer' | 'Reader' | 'util'> {
  /** Of the fields, in their order; null where they are not of a message or enum. */
  readonly types: readonly (protobuf.Type | protobuf.Enum | null)[];
}
type Compiled = { readonly [Name in keyof Functions]: (scope: Scope) => Functions[Name] };

function setUp(type: protobuf.Type): protobuf.Type {
  const compiled = (CODECS as Readonly<Record<string, Compiled>>)[type.fullName]!;
  const types = type.fieldsArray.map((field) => field.resolve().resolvedType);
  const scope = { Writer: protobuf.Writer, Reader: protobuf.Reader, util: protobuf.util, types };
  type.encode = compiled.encode(scope);
  type.decode = compiled.decode(scope);
  type.fromObject = compiled.fromObject(scope);
  type.toObject = compiled.toObject(scope);
  return type;
}

/** `name` is that of a message in backplane.v1. */
export function messageType(name: string): protobuf.Type {
  return root.lookupType(`${PACKAGE}.${name}`);
}

export interface MessageCodec<In extends object, Out> {
  encode(message: In): Buffer;
  /** Throws invalid_argument when the bytes do not encode such a message, too_large when they are more than `bytesMax`. */
  decode(bytes: Buffer, bytesMax: number): Out;
  /** From protojson, as `decode` gives it. Throws invalid_argument that names the field: see readMessage. */
  fromJson(json: unknown): Out;
}

/** `name` is that of a message in backplane.v1. */
export function messageCodec<In extends object, Out>(name: string): MessageCodec<In, Out> {
  const type = messageType(name);
  return {
    encode: (message) => encode(type, message),
    decode(bytes, bytesMax) {
      if (bytes.length > bytesMax) {
        throw new BackplaneError('too_large', `${name} must be at most ${bytesMax} bytes, got ${bytes.length}`);
      }
      try {
        return decode(type, bytes) as Out;
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new BackplaneError('invalid_argument', `${name} cannot be decoded: ${reason}`);
      }
    },
    fromJson: (json) => decode(type, encode(type, readMessage(type, json))) as Out,
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
