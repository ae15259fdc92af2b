/** The strict MessagePack reader, against the general library. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr, Unpackr } from 'msgpackr';
import { BackplaneError } from '../../src/errors.js';
import { type PlainValue, readPlainMsgpack } from '../../src/wire/plain-msgpack.js';
import { runs } from '../harness/runs.js';

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint' });

const leaf: fc.Arbitrary<PlainValue> = fc.oneof(
  fc.constant(null),
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  fc.nat(300),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'binary-ascii', minLength: 60, maxLength: 255 }),
  fc.uint8Array({ maxLength: 255 }).map((bytes) => Buffer.from(bytes)),
);

function nested(depth: number): fc.Arbitrary<PlainValue> {
  return depth === 0 ? leaf : fc.oneof(leaf, fc.array(nested(depth - 1), { maxLength: 20 }));
}

/** What it takes at least: every value has a byte of its own. */
function countOf(value: PlainValue): number {
  return Array.isArray(value) ? value.reduce((sum, each) => sum + countOf(each), 1) : 1;
}

/** Undefined: refused, in one short sentence. */
function read(bytes: Buffer): PlainValue | undefined {
  try {
    return readPlainMsgpack(bytes);
  } catch (error) {
    assert.ok(error instanceof BackplaneError && error.code === 'damaged', String(error));
    assert.ok(error.message.length < 100 && /^[ -~]+$/.test(error.message), error.message);
    return undefined;
  }
}

test('plain values from the general writer are read as the general reader reads them', () => {
  fc.assert(
    fc.property(nested(4), (value) => {
      const bytes = packr.pack(value);
      assert.deepEqual(readPlainMsgpack(bytes), unpackr.unpack(bytes));
    }),
  );
});

test('any bytes give a value of fewer parts than bytes, or one short error', () => {
  // Of the types that hold others, and of those that say a length, more than chance would give.
  const heads = [0x90, 0x9f, 0xdc, 0xdd, 0x81, 0xde, 0xc4, 0xc7, 0xd4, 0xd6, 0xd9, 0xdb, 0x69, 0x70, 0xc1, 0xcb];
  const byte = fc.oneof(fc.constantFrom(...heads), fc.nat(255));
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 400 }), (array) => {
      const bytes = Buffer.from(array);
      const value = read(bytes);
      assert.ok(value === undefined || countOf(value) <= bytes.length);
    }),
    { numRuns: runs(2_000) },
  );
});

test('a change of any byte, or a cut anywhere, gives another value or one short error', () => {
  fc.assert(
    fc.property(nested(4), fc.nat(), fc.nat(255), (value, at, byte) => {
      const bytes = Buffer.from(packr.pack(value));
      assert.equal(read(bytes.subarray(0, at % bytes.length)), undefined);
      assert.equal(read(Buffer.concat([bytes, Buffer.from([byte])])), undefined);
      bytes[at % bytes.length] = byte;
      const other = read(bytes);
      assert.ok(other === undefined || countOf(other) <= bytes.length);
    }),
  );
});

test('values that are not plain are refused, and so are lengths beyond the input', () => {
  const shared: unknown[] = [];
  const cloning = new Packr({ useRecords: false, structuredClone: true });
  const other: readonly unknown[] = [true, -1, 0.5, Number.NaN, {}, new Map([[1, 2]]), new Date(0), /x/, new Set([1])];
  for (const value of other)
    assert.equal(read(new Packr({ useRecords: false, moreTypes: true }).pack([value])), undefined);
  assert.equal(read(cloning.pack([shared, shared])), undefined);
  for (const hex of [
    '',
    'dcffff',
    'ddffffffff',
    'ddffffffff00',
    'd9ff',
    'c4ff00',
    'cf00',
    'c1',
    'c70069',
    'd66900000001',
  ]) {
    assert.equal(read(Buffer.from(hex, 'hex')), undefined, hex);
  }
  assert.equal(read(Buffer.alloc(100_000, 0x91)), undefined);
});
