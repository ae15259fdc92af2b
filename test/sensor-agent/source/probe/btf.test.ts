/** The kernel's own description of its structures, and what is none. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { KernelTypes, kernelOffset } from '../../../../src/sensor-agent/source/probe/btf.js';

const STRUCT = 4;
const UNION = 5;
const INT = 1;

type Members = Readonly<Record<string, number>>;

/**
 * With an integer before the structures, and a structure of another name with a member of the same. `unnamed`: what each
 * structure has in a union without a name, at 40 bytes.
 */
function described(structures: Readonly<Record<string, Members>>, unnamed: Members = {}): Buffer {
  let names = '\0';
  const name = (text: string) => {
    names += `${text}\0`;
    return names.length - text.length - 1;
  };
  const words: number[] = [name('int'), INT << 24, 4, 32];
  const members = (of: Members) => Object.entries(of).flatMap(([member, bytes]) => [name(member), 1, bytes * 8]);
  words.push(0, (UNION << 24) | Object.keys(unnamed).length, 16, ...members(unnamed));
  for (const [structure, of] of Object.entries(structures)) {
    words.push(name(structure), (STRUCT << 24) | (Object.keys(of).length + 1), 64, ...members(of), 0, 2, 40 * 8);
  }
  const bytes = Buffer.alloc(24 + words.length * 4 + names.length);
  bytes.writeUInt16LE(0xeb9f, 0);
  bytes[2] = 1;
  for (const [at, value] of [24, 0, words.length * 4, words.length * 4, names.length].entries())
    bytes.writeUInt32LE(value, 4 + at * 4);
  for (const [at, word] of words.entries()) bytes.writeUInt32LE(word, 24 + at * 4);
  bytes.write(names, 24 + words.length * 4, 'latin1');
  return bytes;
}

const SAMPLE = described({ other: { p: 8 }, linux_binprm: { vma: 0, p: 24, pp: 32 } }, { d_name: 0, __d_name: 8 });

function offsetIn(bytes: Buffer, structure: string, member: string): number | undefined {
  return KernelTypes.parse(bytes)?.offset(structure, member);
}

test('a member is found in its structure, and only there', () => {
  assert.equal(offsetIn(SAMPLE, 'linux_binprm', 'p'), 24);
  assert.equal(offsetIn(SAMPLE, 'other', 'p'), 8);
  assert.equal(offsetIn(SAMPLE, 'other', 'vma'), undefined);
  assert.equal(offsetIn(SAMPLE, 'linux', 'p'), undefined);
  assert.equal(offsetIn(SAMPLE, 'linux_binprm', 'd_name'), 40);
  assert.equal(offsetIn(SAMPLE, 'other', '__d_name'), 48);
});

test('any bytes are read to an end', () => {
  fc.assert(
    fc.property(fc.nat(SAMPLE.length - 1), fc.nat(255), fc.nat(SAMPLE.length), (at, value, length) => {
      const bytes = Buffer.from(SAMPLE.subarray(0, length));
      if (at < length) bytes[at] = value;
      const found = offsetIn(bytes, 'linux_binprm', 'p');
      assert.ok(found === undefined || (Number.isFinite(found) && found >= 0));
    }),
  );
});

test("this kernel's description has what its tools find in it", {
  skip: existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel does not describe itself',
}, (t) => {
  const found = kernelOffset('linux_binprm', 'p');
  assert.ok(found !== undefined && found > 0 && found % 8 === 0);
  const tool = spawnSync('bpftool', ['btf', 'dump', 'file', '/sys/kernel/btf/vmlinux'], { maxBuffer: 2 ** 30 });
  if (tool.status !== 0) return t.diagnostic('bpftool is not here to compare with');
  const [, bits] = /STRUCT 'linux_binprm'[^[]*?'p' type_id=\d+ bits_offset=(\d+)/.exec(tool.stdout.toString()) ?? [];
  assert.equal(found * 8, Number(bits));
});
