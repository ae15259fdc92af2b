/** Random filters about fields that stand in raw entries, events to hold them against, and conditions on entries. */
import fc from 'fast-check';
import type { RawRef } from '../../../src/subscriptions/pushdown/catalogue.js';
import {
  allOf,
  anyOf,
  NEVER,
  type RawExpr,
  type RawField,
  rangeOf,
} from '../../../src/subscriptions/pushdown/raw-expr.js';
import type { BusEvent } from '../../../src/wire/event/event.js';

const NUMBERS = [
  0n,
  1n,
  2n,
  9n,
  22n,
  443n,
  65_535n,
  65_536n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n + 9n,
  2n ** 63n - 1n,
];
const number = fc.oneof(fc.constantFrom(...NUMBERS, ...NUMBERS.map((n) => -n - 1n)), fc.bigInt(-3n, 12n));
const literal = number.map((value) => (value < 0n ? `(${value})` : String(value)));
const operator = fc.constantFrom('==', '!=', '<', '<=', '>', '>=');
const FIELDS = [
  'signal.number',
  'signal.code',
  'signal.result',
  'network.local.port',
  'network.peer.port',
  'process.pid',
];
const field = fc.constantFrom(...FIELDS);

const leaf: fc.Arbitrary<string> = fc.oneof(
  fc.tuple(field, operator, literal).map((parts) => parts.join(' ')),
  fc.tuple(literal, operator, field).map((parts) => parts.join(' ')),
  fc.tuple(field, fc.array(literal, { minLength: 1, maxLength: 5 })).map(([a, list]) => `${a} in [${list}]`),
  fc.tuple(field, operator, field).map((parts) => parts.join(' ')),
  fc.tuple(literal, operator, literal).map((parts) => parts.join(' ')),
  // Fields without a value on some events, and fields that no raw entry has.
  fc.tuple(literal, field, literal).map(([a, b, c]) => `${a} / ${b} == ${c}`),
  fc.tuple(field, field).map(([a, b]) => `process.command_args[${a}] == "a" || ${b} + 1 > 2`),
  fc.constantFrom(
    'true',
    'false',
    'process.comm == "sh"',
    'has(signal.number)',
    '9223372036854775807 + 1 > 0',
    '1 / 0 == 1',
  ),
  fc.constantFrom('event.type == "process.signal"', 'event.topic != "network"', 'event.type.startsWith("network.tcp")'),
);

function nested(depth: number): fc.Arbitrary<string> {
  if (depth === 0) return leaf;
  const part = nested(depth - 1).map((text) => `(${text})`);
  return fc.oneof(
    leaf,
    part.map((a) => `!${a}`),
    fc
      .tuple(fc.constantFrom(' && ', ' || '), fc.array(part, { minLength: 2, maxLength: 3 }))
      .map(([op, all]) => all.join(op)),
    fc.tuple(part, part, part).map(([a, b, c]) => `${a} ? ${b} : ${c}`),
  );
}

export const rawFilter: fc.Arbitrary<string> = nested(3);

const int32 = fc.oneof(
  fc.constantFrom(0, 1, 2, 9, 22, -1, -6, 2 ** 31 - 1, -(2 ** 31)),
  fc.integer({ min: -3, max: 12 }),
);
const port = fc.constantFrom(0, 1, 9, 22, 443, 65_535);

/** An event with the fields that its type's raw entry has. */
export const rawEvent: fc.Arbitrary<BusEvent> = fc
  .record({
    type: fc.constantFrom('process.signal', 'network.tcp.connect', 'process.exec'),
    pid: fc.integer({ min: 1, max: 12 }),
    numbers: fc.tuple(int32, int32, int32),
    ports: fc.tuple(port, port),
    args: fc.array(fc.constantFrom('a', 'b'), { maxLength: 3 }),
  })
  .map(({ type, pid, numbers: [a, b, c], ports: [local, peer], args }) => ({
    type,
    topic: type.slice(0, type.indexOf('.')),
    position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 },
    wallNs: 1n,
    process: { pid, comm: 'sh', commandArgs: args },
    ...(type === 'process.signal' && {
      signal: { number: a, code: b, result: c, name: '', targetPid: 1, targetComm: '' },
    }),
    ...(type === 'network.tcp.connect' && {
      network: {
        type: 'ipv4' as const,
        transport: 'tcp' as const,
        local: { address: '10.0.0.1', port: local },
        peer: { address: '10.0.0.2', port: peer },
      },
    }),
  }));

/** The meaning of a condition. `valueAt` reads a field as a 64-bit integer. */
export function holds(expr: RawExpr, valueAt: (ref: RawRef) => bigint): boolean {
  switch (expr.kind) {
    case 'constant':
      return expr.value;
    case 'and':
      return expr.operands.every((operand) => holds(operand, valueAt));
    case 'or':
      return expr.operands.some((operand) => holds(operand, valueAt));
    case 'in':
      return expr.values.includes(valueAt(expr.ref)) !== expr.negated;
    case 'compare': {
      const a = valueAt(expr.ref);
      const b = expr.value;
      const results = { '==': a === b, '!=': a !== b, '<': a < b, '<=': a <= b, '>': a > b, '>=': a >= b };
      return results[expr.operator];
    }
  }
}

const ascending = (values: bigint[]) => [...new Set(values)].sort((a, b) => (a < b ? -1 : 1));

/** Conditions on some fields, with constants at and beyond the edges of what each can hold. */
export function rawExpr(refs: readonly { ref: RawRef; field: RawField }[]): fc.Arbitrary<RawExpr> {
  const test = fc.constantFrom(...refs).chain(({ ref, field: { elementBytes, signed } }) => {
    const value = fc.oneof(number, edge(elementBytes, signed), fc.constant(2n ** 63n - 1n), fc.constant(-(2n ** 63n)));
    return fc.oneof(
      fc.tuple(operator, value).map(([op, each]) => ({ kind: 'compare', ref, operator: op, value: each }) as RawExpr),
      fc
        .tuple(fc.array(value, { minLength: 1, maxLength: 40 }), fc.boolean())
        .map(([values, negated]) => ({ kind: 'in', ref, values: ascending(values), negated }) as RawExpr),
    );
  });
  const level = (depth: number): fc.Arbitrary<RawExpr> => {
    if (depth === 0) return test;
    const operands = fc.array(level(depth - 1), { minLength: 1, maxLength: 4 });
    return fc.oneof(test, operands.map(allOf), operands.map(anyOf), fc.constant(NEVER));
  };
  return level(3);
}

/** Values at both ends of what a field can hold. */
function edge(bytes: number, signed: boolean): fc.Arbitrary<bigint> {
  const { min, max } = rangeOf(bytes, signed);
  const within = (value: bigint) => BigInt.asIntN(64, value);
  return fc.constantFrom(min, min + 1n, max - 1n, max, within(min - 1n), within(max + 1n), 0n, -1n, 1n);
}

/** A value that the field can hold. */
export function heldValue(bytes: number, signed: boolean): fc.Arbitrary<bigint> {
  const { min, max } = rangeOf(bytes, signed);
  const inside = (value: bigint) => value >= min && value <= max;
  return fc.oneof(edge(bytes, signed).filter(inside), number.filter(inside), fc.bigInt(min, max));
}
