/** The kernel's own description of its structures, and what is none. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { KernelTypes, kernelTypes } from '../../../../src/sensor-agent/source/probe/btf.js';

const [INT, POINTER, STRUCT, UNION, CONST, FUNCTION, PROTOTYPE] = [1, 2, 4, 5, 10, 12, 13];

/** Writes a description; a type's number is the count of those before it, and one. */
class Description {
  readonly #words: number[] = [];
  #names = '\0';
  #types = 0;

  add(kind: number, name: string, sizeOrType: number, added: readonly (readonly [string, ...number[]])[] = []): number {
    const count = kind === INT ? 0 : added.length;
    this.#words.push(this.#name(name), (kind << 24) | count, sizeOrType);
    for (const [inner, ...words] of added) this.#words.push(...(kind === INT ? words : [this.#name(inner), ...words]));
    this.#types += 1;
    return this.#types;
  }

  #name(text: string): number {
    if (text === '') return 0;
    // Each stands there once, as in a kernel's.
    if (!this.#names.includes(`\0${text}\0`)) this.#names += `${text}\0`;
    return this.#names.indexOf(`\0${text}\0`) + 1;
  }

  bytes(): Buffer {
    const typeBytes = this.#words.length * 4;
    const bytes = Buffer.alloc(24 + typeBytes + this.#names.length);
    bytes.writeUInt16LE(0xeb9f, 0);
    bytes[2] = 1;
    for (const [at, value] of [24, 0, typeBytes, typeBytes, this.#names.length].entries())
      bytes.writeUInt32LE(value, 4 + at * 4);
    for (const [at, word] of this.#words.entries()) bytes.writeUInt32LE(word, 24 + at * 4);
    bytes.write(this.#names, 24 + typeBytes, 'latin1');
    return bytes;
  }
}

/** Members with their offsets in bytes, a function that is handed them, and two of one name. */
function sample(): Buffer {
  const to = new Description();
  const int = to.add(INT, 'int', 4, [['', 32]]);
  const char = to.add(INT, 'char', 1, [['', 8]]);
  to.add(STRUCT, 'other', 16, [['p', int, 64]]);
  const binary = to.add(STRUCT, 'linux_binprm', 40, [
    ['vma', int, 0],
    ['p', int, 24 * 8],
    ['pp', int, 32 * 8],
  ]);
  const inner = to.add(STRUCT, '', 8, [
    ['hash', int, 0],
    ['length', int, 32],
  ]);
  const either = to.add(UNION, '', 8, [
    ['name', int, 0],
    ['', inner, 0],
  ]);
  to.add(STRUCT, 'entry', 24, [
    ['parent', int, 0],
    ['flag', int, 36],
    ['', either, 16 * 8],
  ]);
  const text = to.add(POINTER, '', to.add(CONST, '', char));
  const handed = [text, to.add(POINTER, '', binary), to.add(POINTER, '', text), int];
  const prototype = to.add(
    PROTOTYPE,
    '',
    int,
    handed.map((type) => ['', type] as const),
  );
  to.add(FUNCTION, 'does', prototype);
  to.add(FUNCTION, 'twice', prototype);
  to.add(FUNCTION, 'twice', prototype);
  return to.bytes();
}
const SAMPLE = sample();

test('a member is found in its structure, and only there, also where it is within one without a name', () => {
  const types = new KernelTypes(SAMPLE);
  assert.equal(types.offset('linux_binprm', 'p'), 24);
  assert.equal(types.offset('other', 'p'), 8);
  assert.equal(types.offset('other', 'vma'), undefined);
  assert.equal(types.offset('linux', 'p'), undefined);
  assert.equal(types.offset('entry', 'name'), 16);
  assert.equal(types.offset('entry', 'length'), 20);
});

test('what a function is handed is told, unless there are several of its name', () => {
  const types = new KernelTypes(SAMPLE);
  assert.deepEqual(types.parameters('does'), ['char *', 'linux_binprm *', 'char **', '']);
  assert.equal(types.parameters('twice'), undefined);
  assert.equal(types.parameters('entry'), undefined);
});

test('of several members all are told or none, and of a part of a byte nothing', () => {
  const types = new KernelTypes(SAMPLE);
  assert.deepEqual(types.offsets(['other.p', 'entry.length']), [8, 20]);
  assert.equal(types.offsets(['other.p', 'other.length']), undefined);
  assert.equal(types.offset('entry', 'flag'), undefined);
});

test('any bytes are read to an end', () => {
  fc.assert(
    fc.property(fc.nat(SAMPLE.length - 1), fc.nat(255), fc.nat(SAMPLE.length), (at, value, length) => {
      const bytes = Buffer.from(SAMPLE.subarray(0, length));
      if (at < length) bytes[at] = value;
      const types = new KernelTypes(bytes);
      const found = types.offset('entry', 'length');
      assert.ok(found === undefined || (Number.isFinite(found) && found >= 0));
      assert.ok((types.parameters('does') ?? []).every((text) => typeof text === 'string'));
    }),
    { numRuns: 1_000 },
  );
});

test("this kernel's description has what its tools find in it", {
  skip: existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel does not describe itself',
}, (t) => {
  const found = kernelTypes()?.offset('linux_binprm', 'p');
  assert.ok(found !== undefined && found > 0 && found % 8 === 0);
  const tool = spawnSync('bpftool', ['btf', 'dump', 'file', '/sys/kernel/btf/vmlinux'], { maxBuffer: 2 ** 30 });
  if (tool.status !== 0) return t.diagnostic('bpftool is not here to compare with');
  const [, bits] = /STRUCT 'linux_binprm'[^[]*?'p' type_id=\d+ bits_offset=(\d+)/.exec(tool.stdout.toString()) ?? [];
  assert.equal(found * 8, Number(bits));
});
