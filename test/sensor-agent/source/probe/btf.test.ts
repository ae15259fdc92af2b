/** The kernel's own description of its structures, and what is none. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { kernelOffset, offsetsIn } from '../../../../src/sensor-agent/source/probe/btf.js';

const STRUCT = 4;
const UNION = 5;
const INT = 1;

function offsetIn(bytes: Buffer, structure: string, member: string): number | undefined {
  return offsetsIn(bytes, [`${structure}.${member}`])?.[0];
}

/** With an integer before the structures, and a structure of another name with a member of the same. */
function described(structures: Readonly<Record<string, Readonly<Record<string, number>>>>): Buffer {
  let names = '\0';
  const name = (text: string) => {
    names += `${text}\0`;
    return names.length - text.length - 1;
  };
  const words: number[] = [name('int'), INT << 24, 4, 32];
  for (const [structure, members] of Object.entries(structures)) {
    words.push(name(structure), (STRUCT << 24) | Object.keys(members).length, 64);
    for (const [member, bytes] of Object.entries(members)) words.push(name(member), 1, bytes * 8);
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

const SAMPLE = described({ other: { p: 8 }, linux_binprm: { vma: 0, p: 24, pp: 32 } });

test('a member is found in its structure, and only there', () => {
  assert.equal(offsetIn(SAMPLE, 'linux_binprm', 'p'), 24);
  assert.equal(offsetIn(SAMPLE, 'other', 'p'), 8);
  assert.equal(offsetIn(SAMPLE, 'other', 'vma'), undefined);
  assert.equal(offsetIn(SAMPLE, 'linux', 'p'), undefined);
});

/** As the kernel describes `struct sock_common`: members of unions and structures that have no name. */
test('a member of an unnamed structure in a union is found where the whole has it', () => {
  const names = '\0sock\0family\0num\0part\0';
  const name = (text: string) => names.indexOf(`\0${text}\0`) + 1;
  const words = [
    ...[0, (STRUCT << 24) | 2, 8, name('family'), 4, 0, name('num'), 4, 32],
    ...[0, (UNION << 24) | 2, 8, 0, 1, 0, name('part'), 4, 4],
    ...[name('sock'), (STRUCT << 24) | 1, 24, 0, 2, 64],
    ...[0, INT << 24, 4, 32],
  ];
  const bytes = Buffer.concat([Buffer.alloc(24 + words.length * 4), Buffer.from(names, 'latin1')]);
  bytes.writeUInt16LE(0xeb9f, 0);
  for (const [at, value] of [24, 0, words.length * 4, words.length * 4, names.length].entries())
    bytes.writeUInt32LE(value, 4 + at * 4);
  for (const [at, word] of words.entries()) bytes.writeUInt32LE(word, 24 + at * 4);
  assert.deepEqual(offsetsIn(bytes, ['sock.family', 'sock.num']), [8, 12]);
  assert.equal(offsetIn(bytes, 'sock', 'part'), undefined, 'half a byte has no place');
  assert.equal(offsetsIn(bytes, ['sock.num', 'sock.other']), undefined);
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
