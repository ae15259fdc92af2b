/** Reading the copy of a new program's stack: the arguments as they are or cut, and never what lies behind them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ARGUMENTS_MAX } from '../../../../src/limits.js';
import { readExecStack } from '../../../../src/sensor-agent/source/probe/exec-stack.js';
import { STRINGS_BYTES, WORDS_BYTES } from '../../../../src/sensor-agent/source/probe/probe-layout.js';
import { runs } from '../../../harness/runs.js';

const STRINGS_AT = 0x7ffe_0000_1000n;
const USER = 4_294_967_294;

/** The copies that a probe makes; what lies beyond the stack is what was in the kernel's buffer before. */
function copied(args: readonly Buffer[], env: readonly Buffer[], before: Buffer) {
  const text = Buffer.concat([...args, ...env].flatMap((each) => [each, Buffer.from([0])]));
  let at = STRINGS_AT;
  const pointers = [...args, ...env].map((each) => {
    at += BigInt(each.length + 1);
    return at - BigInt(each.length + 1);
  });
  const auxiliary = [6n, 4096n, 11n, 0n, 12n, BigInt(USER), 13n, 0n, 0n, 0n];
  const all = [
    BigInt(args.length),
    ...pointers.slice(0, args.length),
    0n,
    ...pointers.slice(args.length),
    0n,
    ...auxiliary,
  ];
  const words = Buffer.alloc(WORDS_BYTES);
  before.copy(words);
  for (const [index, word] of all.entries()) if (index * 8 < WORDS_BYTES) words.writeBigUInt64LE(word, index * 8);
  const strings = Buffer.alloc(STRINGS_BYTES);
  before.copy(strings);
  text.copy(strings);
  return { words, strings };
}

const text = fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0)));
const stale = fc.uint8Array({ minLength: STRINGS_BYTES, maxLength: STRINGS_BYTES }).map((bytes) => Buffer.from(bytes));

test('arguments come back as given, or cut and said so, and nothing of the environment comes with them', () => {
  fc.assert(
    fc.property(
      fc.array(text, { minLength: 1, maxLength: 40 }),
      fc.array(text, { maxLength: 40 }),
      stale,
      (args, env, before) => {
        const { words, strings } = copied(args, env, before);
        const stack = readExecStack(words, strings)!;
        const given = args.map((arg) => arg.toString('utf8'));
        const bytes = args.reduce((sum, arg) => sum + arg.length + 1, 0);
        assert.equal(stack.truncated, bytes > STRINGS_BYTES);
        assert.equal(stack.bytes, Math.min(bytes, STRINGS_BYTES));
        if (!stack.truncated) assert.deepEqual(stack.args, given);
        else {
          const last = stack.args!.length - 1;
          assert.deepEqual(stack.args!.slice(0, last), given.slice(0, last));
          assert.ok(given[last]!.startsWith(stack.args![last]!.replace(/\uFFFD+$/, '')));
        }
        const isSeen = args.length + env.length + 3 + 6 <= WORDS_BYTES / 8;
        assert.equal(stack.uid, isSeen ? USER : undefined);
      },
    ),
    { numRuns: runs(300) },
  );
});

test('a copy that the kernel could not make, with what was in the buffer before, yields no arguments', () => {
  fc.assert(
    fc.property(fc.array(text, { minLength: 2, maxLength: 20 }), stale, (args, before) => {
      const { words } = copied(args, [], before);
      const stack = readExecStack(words, before);
      // By chance the first arguments may be as long as what was there before.
      if (stack !== undefined) assert.ok(before.indexOf(0) === args[0]!.length || stack.truncated);
    }),
    { numRuns: runs(300) },
  );
});

test('an argument that ends in what was in the buffer before is none', () => {
  // A program may jump to a linker with a stack of its own, of which a part cannot be read.
  const { words, strings } = copied([Buffer.alloc(40, 'A')], [Buffer.from('OWN=1')], Buffer.alloc(0));
  const before = Buffer.from(`${'x'.repeat(24)}TOKEN=of another process\0`);
  strings.fill(0);
  before.copy(strings);
  strings.fill('A', 0, 24);
  assert.equal(readExecStack(words, strings), undefined);
});

test("a 32-bit program's stack, whose words are half as long, is not taken for another", () => {
  const strings = Buffer.alloc(STRINGS_BYTES, 'of another process');
  const words = Buffer.alloc(WORDS_BYTES);
  const all = [2, 0xffdd_1000, 0xffdd_1005, 0, 0xffdd_100a, 0];
  for (const [at, word] of all.entries()) words.writeUInt32LE(word, at * 4);
  assert.equal(readExecStack(words, strings), undefined);
});

test('a program without any argument has none, though its environment stands where they would', () => {
  const { words, strings } = copied([], [Buffer.from('SECRET=x')], Buffer.alloc(0));
  assert.deepEqual(readExecStack(words, strings), { args: undefined, truncated: false, bytes: 0, uid: USER });
});

test('of very many short arguments those that an event may hold are kept, and the rest is said to be missing', () => {
  const many = Array.from({ length: ARGUMENTS_MAX }, () => Buffer.alloc(0));
  const whole = copied(many, [], Buffer.alloc(0));
  assert.equal(readExecStack(whole.words, whole.strings)?.args?.length, ARGUMENTS_MAX);
  assert.equal(readExecStack(whole.words, whole.strings)?.truncated, false);
  const more = copied([...many, Buffer.from('last')], [], Buffer.alloc(0));
  assert.equal(readExecStack(more.words, more.strings)?.args?.length, ARGUMENTS_MAX);
  assert.equal(readExecStack(more.words, more.strings)?.truncated, true);
});

test('counts and pointers that no program can have yield nothing, or what the copy holds', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: WORDS_BYTES, maxLength: WORDS_BYTES }),
      fc.uint8Array({ minLength: STRINGS_BYTES, maxLength: STRINGS_BYTES }),
      (words, strings) => {
        const stack = readExecStack(Buffer.from(words), Buffer.from(strings));
        assert.ok((stack?.args?.length ?? 0) <= ARGUMENTS_MAX);
      },
    ),
    { numRuns: runs(300) },
  );
});
