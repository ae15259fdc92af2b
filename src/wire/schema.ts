/**
 * The protocol's definition: one codec per message, one definition per service, and the fields of each message. Objects
 * have longs as decimal strings, enums as their names, bytes as Buffer, unset messages as null. It is protobufjs as
 * `@grpc/proto-loader` has it, but what protobufjs finds out about messages and makes of it at run time is made by the
 * build (scripts/codecs.js): each start of a process would pay for it.
 */
import { readFileSync } from 'node:fs';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs/light.js';
import { BackplaneError } from '../errors.js';
import { builtFile } from '../package-files.js';
import { ENUMS, MESSAGES, SERVICES } from './gen/codecs.js';
import { readMessage } from './json-reader.js';

const PACKAGE = 'backplane.v1';
const FORM: protobuf.IConversionOptions = { longs: String, enums: String, defaults: true, oneofs: true };

export interface MessageField {
  readonly name: string;
  readonly id: number;
  /** As the .proto has it; of a map, that of its values. */
  readonly type: string;
  readonly repeated?: true;
  /** Full name of the message or enum that it is of. */
  readonly of?: string;
  /** Of a map. */
  readonly keyType?: string;
  /** Its default is told from its absence. */
  readonly optional?: true;
}

type Functions = Pick<protobuf.Type, 'encode' | 'decode' | 'fromObject' | 'toObject'>;

interface Scope extends Pick<typeof protobuf, 'Writer' | 'Reader' | 'util'> {
  /** Of the fields, in their order; null where they are neither of a message nor of an enum. */
  readonly types: readonly (Message | { readonly values: object } | null)[];
}

type Compiled = { readonly fields: readonly MessageField[] } & {
  readonly [Name in keyof Functions]: (scope: Scope) => Functions[Name];
};

const compiled = MESSAGES as Readonly<Record<string, Compiled>>;
const enums = ENUMS as Readonly<Record<string, Readonly<Record<string, number>>>>;
const services = SERVICES as Readonly<Record<string, readonly Method[]>>;
const messages = new Map<string, Message>();

interface Method {
  readonly name: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly request: string;
  readonly response: string;
}

/** What the functions of a message find as `this`, and as the types of other messages' fields. */
class Message implements Functions {
  ctor!: new () => object;
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  encode(...given: Parameters<Functions['encode']>): protobuf.Writer {
    return this.#made().encode(...given);
  }

  decode(...given: Parameters<Functions['decode']>): protobuf.Message {
    return this.#made().decode(...given);
  }

  fromObject(...given: Parameters<Functions['fromObject']>): protobuf.Message {
    return this.#made().fromObject(...given);
  }

  toObject(...given: Parameters<Functions['toObject']>): { [name: string]: unknown } {
    return this.#made().toObject(...given);
  }

  /** When it is first used: has the compiled functions in the place of these. */
  #made(): this {
    const { fields, ...make } = compiled[this.#name]!;
    const { Writer, Reader, util } = protobuf;
    this.ctor = class {};
    // By which decode() knows that there is none yet.
    for (const { name, keyType } of fields) if (keyType !== undefined) this.ctor.prototype[name] = util.emptyObject;
    const scope = { Writer, Reader, util, types: fields.map(({ of }) => (of === undefined ? null : typeOf(of))) };
    this.encode = make.encode(scope);
    this.decode = make.decode(scope);
    this.fromObject = make.fromObject(scope);
    this.toObject = make.toObject(scope);
    return this;
  }
}

function typeOf(fullName: string): Scope['types'][number] {
  const values = enums[fullName];
  if (values === undefined) return messageOf(fullName);
  // Names by their numbers, too.
  return { values: { ...values, ...Object.fromEntries(Object.entries(values).map(([name, id]) => [id, name])) } };
}

function messageOf(fullName: string): Message {
  let message = messages.get(fullName);
  if (message === undefined) {
    message = new Message(fullName);
    messages.set(fullName, message);
  }
  return message;
}

/** `fullName` as a field has it, or `.backplane.v1.` and a name. Undefined for what is no message. */
export function messageFields(fullName: string): readonly MessageField[] | undefined {
  return compiled[fullName]?.fields;
}

let root: protobuf.Root | undefined;

/** `name` is that of a message in backplane.v1. The first call takes long. */
export function messageType(name: string): protobuf.Type {
  root ??= protobuf.Root.fromJSON(JSON.parse(readFileSync(builtFile('descriptors/backplane.json'), 'utf8')));
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
  const message = messageOf(`.${PACKAGE}.${name}`);
  return {
    encode: (object) => encode(message, object),
    decode(bytes, bytesMax) {
      if (bytes.length > bytesMax) {
        throw new BackplaneError('too_large', `${name} must be at most ${bytesMax} bytes, got ${bytes.length}`);
      }
      try {
        return decode(message, bytes) as Out;
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new BackplaneError('invalid_argument', `${name} cannot be decoded: ${reason}`);
      }
    },
    fromJson: (json) => decode(message, encode(message, readMessage(messageType(name), json))) as Out,
  };
}

/** As gRPC takes it; `name` is that of a service in backplane.v1. */
export function serviceDefinition(name: string): ServiceDefinition {
  return Object.fromEntries(services[name]!.map((method) => [method.name, methodDefinition(name, method)]));
}

function methodDefinition(
  service: string,
  { name, requestStream, responseStream, ...of }: Method,
): MethodDefinition<object, object> {
  const [request, response] = [messageOf(of.request), messageOf(of.response)];
  return {
    path: `/${PACKAGE}.${service}/${name}`,
    requestStream,
    responseStream,
    requestSerialize: (object) => encode(request, object),
    requestDeserialize: (bytes) => decode(request, bytes),
    responseSerialize: (object) => encode(response, object),
    responseDeserialize: (bytes) => decode(response, bytes),
    originalName: name[0]!.toLowerCase() + name.slice(1),
  };
}

function encode(message: Message, object: object): Buffer {
  return message.encode(message.fromObject(object as { [name: string]: unknown })).finish() as Buffer;
}

function decode(message: Message, bytes: Buffer): object {
  return message.toObject(message.decode(bytes), FORM);
}
