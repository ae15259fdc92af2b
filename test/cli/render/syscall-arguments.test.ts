/** Arguments of system calls, whose numbers differ by architecture. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { argumentsText } from '../../../src/cli/render/syscall-arguments.js';

test('a call is shown as the architecture of its machine has it, whatever this machine is', () => {
  const calls: readonly (readonly [name: string, id: bigint, args: readonly bigint[], shown: string])[] = [
    ['openat', 257n, [3n, 0n, 0x1_4000n, 0n], '3, NULL, O_RDONLY|O_DIRECT|O_DIRECTORY, 00'],
    ['openat', 56n, [3n, 0n, 0x1_4000n, 0n], '3, NULL, O_RDONLY|O_DIRECTORY|O_DIRECT, 00'],
    ['openat', 56n, [3n, 0n, 0x40_4002n, 0n], '3, NULL, O_RDWR|O_TMPFILE, 00'],
    ['ptrace', 101n, [33n, 7n, 0n, 0n], 'PTRACE_SINGLEBLOCK, 7, NULL, 0'],
    ['ptrace', 117n, [33n, 7n, 0n, 0n], 'PTRACE_PEEKMTETAGS, 7, NULL, 0'],
  ];
  for (const [name, id, args, expected] of calls) assert.equal(argumentsText(name, id, args), expected);
});
