/** The tables of the architectures, by what the kernel's headers have; `npm run test:kernels` compares all of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ARCHITECTURES, architectureOf, syscallName } from '../../src/architecture/architecture.js';
import { mergeEvents, readCapture } from '../../src/sensor-agent/source/pages/capture.js';
import { commandName } from '../../src/text/command-names.js';

const { x64, arm64 } = ARCHITECTURES;

test('system calls are named, on both architectures', () => {
  const known: readonly (readonly [number, string, string])[] = [
    [0, 'read', 'io_setup'],
    [56, 'clone', 'openat'],
    [59, 'execve', 'pipe2'],
    [62, 'kill', 'lseek'],
    [129, 'rt_sigqueueinfo', 'kill'],
    [272, 'unshare', 'kcmp'],
    [335, 'uretprobe', ''],
    [435, 'clone3', 'clone3'],
    [462, 'mseal', 'mseal'],
    [471, 'rseq_slice_yield', 'rseq_slice_yield'],
    [400, '', ''],
  ];
  for (const [id, onX64, onArm64] of known) {
    assert.equal(syscallName(BigInt(id), x64), onX64, `x64 ${id}`);
    assert.equal(syscallName(BigInt(id), arm64), onArm64, `arm64 ${id}`);
  }
  assert.equal(syscallName(-1n, x64), '');
  assert.equal(syscallName(2n ** 62n, x64), '');
});

test('system calls of a capture from arm64 have the names that its kernel gave them', () => {
  const capture = fileURLToPath(new URL('../../../test/fixtures/ftrace/arm64-4k', import.meta.url));
  const { formats, lanes } = readCapture(capture);
  const named = new Set<string>();
  for (const event of mergeEvents(lanes)) {
    const format = formats.byId(event.id)!;
    const values = format.decode(event.page, event.at, event.length);
    const [, kernels] = /^sys_enter_(\w+)$/.exec(format.name) ?? [];
    if (kernels !== undefined) {
      assert.equal(syscallName(BigInt(values['__syscall_nr'] as number), arm64), kernels);
      named.add(kernels);
    }
    if (format.name === 'sys_enter') assert.notEqual(syscallName(values['id'] as bigint, arm64), '');
  }
  assert.ok(named.size >= 10, [...named].join());
});

test('a call and its number tell the architecture where only one has it so', () => {
  assert.equal(architectureOf('openat', 257n), x64);
  assert.equal(architectureOf('openat', 56n), arm64);
  assert.equal(architectureOf('openat2', 437n), undefined);
  assert.equal(architectureOf('openat', 1n), undefined);
});

test('commands of calls are named, those of an architecture only there', () => {
  assert.equal(commandName('ptrace', 12n, x64), 'PTRACE_GETREGS');
  assert.equal(commandName('ptrace', 12n, arm64), '');
  assert.equal(commandName('ptrace', 33n, arm64), 'PTRACE_PEEKMTETAGS');
  assert.equal(commandName('ptrace', 33n, undefined), '');
  assert.equal(commandName('ptrace', 0x4212n, undefined), 'PTRACE_SET_SYSCALL_INFO');
  assert.equal(commandName('bpf', 38n, undefined), 'BPF_PROG_ASSOC_STRUCT_OPS');
  assert.equal(commandName('fsconfig', 8n, undefined), 'FSCONFIG_CMD_CREATE_EXCL');
  assert.equal(commandName('kill', 9n, x64), '');
});
