/**
 * JSON Schemas (2020-12) of the public messages as protojson, by their names, with the comments of the .proto files: what
 * the OpenAPI document and the list of filter fields are made of. References are those of an OpenAPI document.
 */
import protobuf from 'protobufjs';

const PACKAGE = 'backplane.v1';
/** Between agents and brokers, never JSON. */
const INTERNAL = /uplink\.proto$/;

const SCALARS = {
  string: { type: 'string' },
  bool: { type: 'boolean' },
  bytes: { type: 'string', contentEncoding: 'base64' },
  double: { type: 'number' },
  float: { type: 'number' },
  int32: { type: 'integer', format: 'int32' },
  uint32: { type: 'integer', format: 'int64', minimum: 0 },
};
/** Numbers of 64 bits are texts in protojson. */
const WIDE = { int64: '^-?[0-9]+$', uint64: '^[0-9]+$', fixed64: '^[0-9]+$' };

/** @param root loaded with `alternateCommentMode` */
export function jsonSchemas(root) {
  const messages = root.lookup(PACKAGE).nestedArray.filter((each) => each instanceof protobuf.Type);
  const open = messages.filter(({ filename }) => !INTERNAL.test(filename));
  return Object.fromEntries(open.map((type) => [type.name, messageSchema(type)]));
}

function messageSchema(type) {
  const fields = Object.values(type.fields);
  const isRequest = type.name.endsWith('Request');
  const properties = fields.map((field) => [field.name, fieldSchema(field, isRequest)]);
  const choices = type.oneofsArray.filter(({ name }) => !name.startsWith('_'));
  // A message that is nothing but one choice has one of its fields.
  const isChoice = choices.length === 1 && choices[0].fieldsArray.length === fields.length;
  return {
    type: 'object',
    ...described(type),
    properties: Object.fromEntries(properties),
    ...(isChoice ? { minProperties: 1, maxProperties: 1 } : {}),
  };
}

function fieldSchema(field, isRequest) {
  const value = valueSchema(field.resolve(), isRequest);
  const schema = field.map
    ? { type: 'object', additionalProperties: value }
    : field.repeated
      ? { type: 'array', items: value }
      : value;
  return { ...schema, ...described(field) };
}

function valueSchema({ type, resolvedType }, isRequest) {
  if (resolvedType instanceof protobuf.Enum) return { type: 'string', enum: Object.keys(resolvedType.values) };
  if (resolvedType?.fullName === '.google.protobuf.Timestamp') return { type: 'string', format: 'date-time' };
  // Any JSON.
  if (resolvedType?.fullName === '.google.protobuf.Value') return {};
  if (resolvedType) return { $ref: `#/components/schemas/${resolvedType.name}` };
  // Whoever asks may write them as numbers, too.
  if (WIDE[type]) return { type: isRequest ? ['string', 'integer'] : 'string', pattern: WIDE[type], format: type };
  if (SCALARS[type]) return SCALARS[type];
  throw new Error(`${type} has no JSON Schema`);
}

function described({ comment }) {
  return comment ? { description: comment.replace(/\s+/g, ' ').trim() } : {};
}
