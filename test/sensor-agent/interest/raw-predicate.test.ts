/** The generated tests, over pages as the kernel writes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileRawPredicate } from '../../../src/sensor-agent/interest/raw-predicate.js';
import { BUILTIN_FORMATS } from '../../../src/sensor-agent/source/builtin-formats.js';
import { parseFormat } from '../../../src/sensor-agent/source/pages/format.js';
import { FIRST_TEST, NOTED, PageEntries, scanPage, startCursor } from '../../../src/sensor-agent/source/pages/page.js';
import { PageWriter } from '../../../src/sensor-agent/source/synthetic/page-writer.js';
import { heldValue, holds, rawExpr } from '../../harness/filters/raw-filters.js';
import { runs } from '../../harness/runs.js';

const COMMON = [
  ['unsigned short common_type', 0, 2, 0],
  ['unsigned char common_flags', 2, 1, 0],
  ['int common_pid', 4, 4, 1],
] as const;
/** Every size and sign, not all at the start of a word. */
const OWN = [
  ['s8 a', 8, 1, 1],
  ['unsigned char b', 11, 1, 0],
  ['short c', 14, 2, 1],
  ['u16 d', 16, 2, 0],
  ['int e', 20, 4, 1],
  ['unsigned int f', 24, 4, 0],
  ['long g', 32, 8, 1],
  ['unsigned long h', 40, 8, 0],
] as const;
const lines = [...COMMON, ...OWN].map(
  ([declaration, offset, size, signed]) =>
    `\tfield:${declaration};\toffset:${offset};\tsize:${size};\tsigned:${signed};`,
);
const FORMAT = parseFormat('t/numbers', `name: numbers\nID: 900\nformat:\n${lines.join('\n')}\n`);
const REFS = FORMAT.fields.map((field) => ({ ref: { field: field.name }, field }));
const entry = fc.record(
  Object.fromEntries(FORMAT.fields.map((field) => [field.name, heldValue(field.sizeBytes, field.signed)])),
);

/** Words as scanPage hands them over, the payload not at the start. */
function wordsOf(values: Readonly<Record<string, bigint>>): Uint32Array {
  const page = Buffer.from(new ArrayBuffer(16 + 48));
  for (const { name, offset, sizeBytes } of FORMAT.fields) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, values[name]!));
    bytes.copy(page, 16 + offset, 0, sizeBytes);
  }
  return new Uint32Array(page.buffer);
}

test('the generated test decides as its condition does, for every size and sign', () => {
  fc.assert(
    fc.property(rawExpr(REFS), fc.array(entry, { minLength: 3 }), (expr, entries) => {
      const compiled = compileRawPredicate([expr], FORMAT);
      for (const each of entries) {
        const words = wordsOf(each);
        const passes = typeof compiled === 'boolean' ? compiled : compiled(words, 4, words.length);
        assert.equal(
          passes,
          holds(expr, (ref) => each[ref.field]!),
        );
      }
    }),
    { numRuns: runs(5_000) },
  );
});

test('a scan notes entries that pass, and those too short for their format', () => {
  const format = BUILTIN_FORMATS.byName('raw_syscalls/sys_enter')!;
  const exit = BUILTIN_FORMATS.byName('raw_syscalls/sys_exit')!;
  const argument = { field: 'args', element: 2 };
  const compiled = compileRawPredicate([{ kind: 'compare', ref: argument, operator: '<', value: -1n }], format);
  assert.ok(typeof compiled === 'function');
  const writer = new PageWriter(64 * 1024);
  const values = [-3n, 5n, -1n, -(2n ** 63n)];
  for (const [at, value] of values.entries()) {
    const args = [0n, 0n, value, 0n, 0n, 0n];
    writer.append({ format, timeNs: 1000n + BigInt(at), pid: 1, values: { id: 1n, args } });
  }
  writer.append({ format: exit, timeNs: 2000n, pid: 1, values: { id: 1n, ret: 0n } });
  const wanted = new Uint8Array(65_536);
  wanted[format.id] = FIRST_TEST;
  const entries = new PageEntries();
  const page = writer.take()!;
  scanPage(page, wanted, startCursor(), entries, [compiled]);
  assert.deepEqual([entries.entries, entries.count], [5, 2]);
  assert.deepEqual([entries.timeNs(0), entries.timeNs(1)], [1000n, 1003n]);
  wanted[format.id] = NOTED;
  scanPage(page, wanted, startCursor(), entries);
  assert.equal(entries.count, 4);
  assert.equal(compiled(new Uint32Array(6), 2, 6), true);
});

test('a field that the format does not have is not tested', () => {
  const expr = { kind: 'compare', ref: { field: 'none' }, operator: '==', value: 1n } as const;
  assert.equal(compileRawPredicate([expr], FORMAT), true);
  assert.equal(compileRawPredicate([], FORMAT), false);
});
