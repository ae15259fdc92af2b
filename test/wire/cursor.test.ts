/** The cursor's encoding: exact, bounded, and safe against any bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { BackplaneError } from '../../src/errors.js';
import { CURSOR_BYTES_MAX, PARTITIONS, SELECTORS_MAX } from '../../src/limits.js';
import { type CursorState, decodeCursor, encodeCursor } from '../../src/wire/cursor.js';

const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,30}$/);
const position = plain({
  epoch: whole,
  timeNs: u64,
  lane: fc.integer({ min: 0, max: 0xffff }),
  tie: fc.integer({ min: 0, max: 0xffff_ffff }),
});
const place = plain({
  offset: whole,
  mark: fc.option(fc.integer({ min: 1, max: 0xffff_ffff }), { nil: undefined }),
  index: fc.option(fc.nat(0xffff), { nil: undefined }),
});
const range = fc
  .tuple(
    plain({
      offsetFrom: whole,
      offsetTo: fc.option(whole, { nil: undefined }),
      after: fc.option(position, { nil: undefined }),
      skipped: fc.boolean(),
    }),
    fc.option(fc.uniqueArray(fc.nat(SELECTORS_MAX - 1), { minLength: 1, maxLength: SELECTORS_MAX }), {
      nil: undefined,
    }),
  )
  .map(([each, selectors]) => (selectors ? { ...each, selectors: selectors.sort((a, b) => a - b) } : each));
const ranges = fc.array(range, { minLength: 1, maxLength: 3 });
const owing = fc.array(fc.tuple(name, ranges), { minLength: 1, maxLength: 2 }).map((entries) => new Map(entries));
const owed = fc.option(owing, { nil: undefined });
const selectors = plain({
  topics: fc.array(name, { minLength: 1, maxLength: 3 }),
  each: fc.array(plain({ key: u64, predicateId: u64 }), { minLength: 1, maxLength: 20 }),
});
const plainState: fc.Arbitrary<CursorState> = plain({
  clusterId: fc.stringMatching(/^[0-9a-f]{16}$/),
  predicateId: u64,
  sinceNs: fc.option(u64, { nil: undefined }),
  history: fc.option(plain({ wallNs: u64, node: name, position }), { nil: undefined }),
  places: fc.oneof(fc.constant([]), fc.array(place, { minLength: PARTITIONS, maxLength: PARTITIONS })),
  nodes: fc.array(
    fc.oneof(
      plain({ node: name, standing: fc.constant('beyond' as const), position, owed }),
      plain({ node: name, standing: fc.constant('log' as const), owed: owing }),
      plain({
        node: name,
        standing: fc.constant('late' as const),
        position: fc.option(position, { nil: undefined }),
        floors: fc.array(fc.tuple(name, position), { maxLength: 3 }).map((entries) => new Map(entries)),
        history: fc.option(plain({ wallNs: u64, node: name, position }), { nil: undefined }),
        owed,
      }),
    ),
    { maxLength: 6 },
  ),
  note: fc.option(notePlace(), { nil: undefined }),
});

const state: fc.Arbitrary<CursorState> = fc
  .tuple(plainState, fc.option(selectors, { nil: undefined }))
  .map(([each, several]) => (several ? { ...each, predicateId: 0n, selectors: several } : each));

function notePlace() {
  return plain({ partition: fc.nat(PARTITIONS - 1), offset: whole, id: fc.integer({ min: 0, max: 0xffff_ffff }) });
}

function refused(text: string): void {
  assert.throws(
    () => decodeCursor(text),
    (error) =>
      error instanceof BackplaneError && error.code === 'cursor_invalid' && /^[ -~]{1,200}$/.test(error.message),
  );
}

test('a cursor decodes to its contents', () => {
  fc.assert(
    fc.property(state, (each) => {
      const text = encodeCursor(each);
      assert.ok(text !== undefined && /^[A-Za-z0-9_-]+$/.test(text));
      assert.deepEqual(decodeCursor(text), each);
    }),
  );
});

test("contents that exceed a cursor's size give no cursor", () => {
  const nodes = Array.from({ length: 400 }, (_, index) => ({
    node: `node-with-a-long-name-${index}`,
    standing: 'beyond' as const,
    position: { epoch: 1, timeNs: 1n << 60n, lane: 1, tie: 1 },
  }));
  const base = { clusterId: '0123456789abcdef', predicateId: 1n, places: [] };
  assert.equal(encodeCursor({ ...base, nodes }), undefined);
  const fitting = encodeCursor({ ...base, nodes: nodes.slice(0, 40) });
  assert.ok(fitting !== undefined && fitting.length <= CURSOR_BYTES_MAX);
});

test('garbage, and a cursor that was cut or changed anywhere, is refused', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), refused));
  fc.assert(
    fc.property(state, fc.nat(), (each, at) => {
      const text = encodeCursor(each)!;
      refused(text.slice(0, at % text.length));
      const index = at % text.length;
      const other = text[index] === 'A' ? 'B' : 'A';
      refused(text.slice(0, index) + other + text.slice(index + 1));
    }),
  );
  refused('A'.repeat(CURSOR_BYTES_MAX + 1));
});

test('a cursor with a right checksum and bad content is refused', () => {
  const packr = new Packr({ useRecords: false, int64AsType: 'bigint' });
  const sealed = (value: unknown) => {
    const packed = packr.pack(value);
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(crc32(packed));
    return Buffer.concat([packed, sum]).toString('base64url');
  };
  const id = Buffer.alloc(8);
  const eight = (place: unknown) => Array(8).fill(place);
  decodeCursor(sealed([4, id, 1n, null, null, [], [['n', 1, null, [], null]], [0, 0, 0]]));
  decodeCursor(sealed([4, id, 1n, null, null, eight([0, 0]), [], null]));
  const bad: unknown[] = [
    null,
    'text',
    { __proto__: null, length: 8 },
    [],
    [1, id, 1n, null, null, [], [], null],
    [4, id, 1n, null, null, [], [], [], null],
    [4, id.subarray(1), 1n, null, null, [], [], null],
    [4, id, -1n, null, null, [], [], null],
    [4, id, [], null, null, [], [], null],
    [4, id, [['t']], null, null, [], [], null],
    [4, id, [[], id], null, null, [], [], null],
    [4, id, [[7], Buffer.alloc(16)], null, null, [], [], null],
    [4, id, [['t'], id], null, null, [], [], null],
    [4, id, [['t'], ...Array(SELECTORS_MAX + 1).fill(Buffer.alloc(16))], null, null, [], [], null],
    [4, id, 1n, null, null, [], [['n', 2, [['t', 0, null, null, 0, -1]]]], null],
    [4, id, 1n, null, ['x'], [], [], null],
    [4, id, 1n, null, null, [[0, 0]], [], null],
    [4, id, 1n, null, null, [...eight([0, 0]), [0, 0]], [], null],
    [4, id, 1n, null, null, eight([0]), [], null],
    [4, id, 1n, null, null, eight([-1, 0]), [], null],
    [4, id, 1n, null, null, eight([0.5, 0]), [], null],
    [4, id, 1n, null, null, eight([0, 2 ** 32]), [], null],
    [4, id, 1n, null, null, eight([0, 0, 70_000]), [], null],
    [4, id, 1n, null, null, eight([0, 0, null]), [], null],
    [4, id, 1n, null, null, [], [['n', 0, null]], null],
    [4, id, 1n, null, null, [], [['n'.repeat(300), 1, null, [], null]], null],
    [4, id, 1n, null, null, [], [['n', 1, [1, 1n, 70_000, 0], [], null]], null],
    [4, id, 1n, null, null, [], [['n', 1, null, ['t'], null]], null],
    [4, id, 1n, null, null, [], [['n', 1, null, [], ['x']]], null],
    [4, id, 1n, null, null, [], [], [99, 0, 0]],
    [4, id, 1n, null, null, [], [['n\u202e', 1, null, [], null]], null],
    [['x'.repeat(1000), 'y'], id, 1n, null, null, [], [], null],
    ['x'.repeat(200), id, 1n, null, null, [], [], null],
  ];
  for (const value of bad) refused(sealed(value));
  const old = sealed([3, id, 1n, null, null, eight([0, 0]), [], null]);
  assert.throws(
    () => decodeCursor(old),
    /is of version 3, this broker reads version 4: begin with since or last instead$/,
  );
});

test('a cursor whose version refers to itself forty times over is refused, and not printed', () => {
  const ids = Array.from({ length: 40 }, (_, level) => Buffer.from([0xd6, 0x69, 0, 0, 0, level]));
  const pointers = ids.map((_, level) => Buffer.from([0xd6, 0x70, 0, 0, 0, level]));
  // Each level is a list of twice the level below it: named once, and then referred to.
  const nested = ids.reduceRight<Buffer>(
    (below, own, level) => Buffer.concat([own, Buffer.from([0x92]), below, pointers[level + 1] ?? Buffer.from([0])]),
    Buffer.from([0]),
  );
  const packed = Buffer.concat([Buffer.from([0x99]), nested, Buffer.alloc(8, 0xc0)]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(packed));
  const text = Buffer.concat([packed, sum]).toString('base64url');
  assert.ok(text.length < CURSOR_BYTES_MAX);
  refused(text);
});

/** Without null prototypes, which deepEqual tells from ours. */
function plain<T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
}
