/** Field masks on encoded events, against masks on decoded ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { applyFieldMask, parseFieldMask } from '../../../src/cli/render/field-mask.js';
import { BackplaneError } from '../../../src/errors.js';
import { EVENT_BYTES_MAX } from '../../../src/limits.js';
import type { BusEvent } from '../../../src/wire/event/event.js';
import { eventToJson } from '../../../src/wire/event/event-json.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import {
  compileFieldMask,
  cutRuns,
  EVENT_FIELDS,
  type FieldMask,
  NAMED_FIELDS,
  USUAL_FIELDS,
  unionOfMasks,
  withMarks,
} from '../../../src/wire/event/field-mask.js';
import { encodeEventBatch } from '../../../src/wire/frame/splice.js';
import { subscribeResponseCodec } from '../../../src/wire/messages.js';
import { runs } from '../../harness/runs.js';

/** An event that has every field. */
const FULL: BusEvent = {
  type: 'process.exec',
  topic: 'process',
  position: { epoch: 3, timeNs: 7n, lane: 1, tie: 2 },
  wallNs: 1_700_000_000_123_456_789n,
  process: {
    pid: 300,
    parentPid: 1,
    comm: 'sh',
    executable: { path: `/${'p'.repeat(300)}`, name: 'sh', deleted: true },
    parent: {
      pid: 1,
      executable: { path: '/sbin/init', name: 'init', deleted: true },
      commandArgs: ['init', ''],
      creationTimeNs: 5_000_000_000n,
    },
    ancestors: ['init', 'a'.repeat(200)],
    commandArgs: ['sh', '', '-c'],
    commandArgsMissed: true,
    commandArgsTruncated: true,
    redactions: 2,
    workingDirectory: '/root',
    user: { id: 0, name: 'root' },
    creationTimeNs: 1_700_000_000_000_000_001n,
    cgroup: { path: '/c' },
    threadId: 301,
    previousComm: 'bash',
    exitCode: 0,
    exitSignal: 'SIGKILL',
    inferred: ['user', 'cgroup'],
  },
  container: { id: 'abc' },
  network: {
    type: 'ipv4',
    transport: 'tcp',
    local: { address: '127.0.0.1', port: 1 },
    peer: { address: '127.0.0.2', port: 65535 },
    failed: true,
    datagrams: 300,
  },
  dns: { question: { name: 'a.example', type: 'AAAA' }, questionMissed: true, redactions: 1 },
  signal: { number: 15, name: 'SIGTERM', targetPid: 5, targetComm: 'x', code: -6, result: 1 },
  notice: { reason: 'r', message: 'm'.repeat(200), lost: 1, lostUnknown: true, source: 'tracefs' },
  raw: { name: 'sched_switch', fields: { prev_pid: '1', next_pid: '2' } },
  syscall: {
    ...{ id: 59n, name: 'execve', args: [1n, -1n], result: -2n, returned: true },
    ...{ command: 'BPF_PROG_LOAD', targetPid: -7 },
  },
  mount: { source: '/dev/sda1', target: '/mnt', type: 'ext4', missed: true },
  object: { name: 'x', nameMissed: true },
  file: {
    ...{ path: '/etc', pathMissed: true, descriptor: -100, flags: 1, mode: 2 },
    ...{ newPath: '/etc2', pathResolved: true, ownerId: 0, groupId: -1, size: 5n, mountNamespace: 7 },
  },
};
const paths = fc.uniqueArray(
  fc.constantFrom(
    ...EVENT_FIELDS,
    'process',
    'process.executable',
    'process.parent',
    'network',
    'network.peer',
    'dns',
    'dns.question',
    'raw',
    'position',
  ),
  { maxLength: 12 },
);

function encoded(mask?: FieldMask): Buffer {
  const writer = new EventWriter();
  writer.write(FULL, mask);
  writer.write({ ...FULL, process: { pid: 1 } }, mask);
  return writer.take();
}

/** With all that can be named. */
const whole = () => encoded(compileFieldMask(EVENT_FIELDS));

/** A message has only its usual fields. */
const leavesOf = (path: string) =>
  EVENT_FIELDS.includes(path)
    ? [path]
    : EVENT_FIELDS.filter((leaf) => leaf.startsWith(`${path}.`) && !NAMED_FIELDS.includes(leaf));

function json(runs: Buffer): Record<string, unknown>[] {
  const header = { node: 'n', topic: 't', history: false, cursor: '' };
  const { events } = subscribeResponseCodec.decode(encodeEventBatch(header, [runs]), 1 << 20);
  return events!.events.map((event) => ({ ...eventToJson(event, 'n', 't') }));
}

test('masking encoded bytes gives the same event as masking the decoded one', () => {
  const all = json(whole());
  fc.assert(
    fc.property(paths, (asked) => {
      const leaves = withMarks(asked).flatMap(leavesOf);
      const kept = parseFieldMask(['type', 'time', 'position', 'topic', 'node', ...leaves].join());
      const expected = all.map((event) => applyFieldMask(event, kept));
      const mask = compileFieldMask(asked);
      assert.deepEqual(json(cutRuns(whole(), mask)), expected);
      assert.deepEqual(encoded(mask), cutRuns(whole(), mask));
    }),
    { numRuns: runs(500) },
  );
});

test('masking the result of a wider mask is the same as masking the whole event', () => {
  fc.assert(
    fc.property(paths, paths, (a, b) => {
      const [first, second] = [compileFieldMask(a), compileFieldMask(b)];
      const union = unionOfMasks([first, second])!;
      const both = cutRuns(whole(), union);
      assert.deepEqual(cutRuns(both, first), cutRuns(whole(), first));
      assert.deepEqual(cutRuns(both, second), cutRuns(whole(), second));
      assert.deepEqual(both, cutRuns(whole(), compileFieldMask([...a, ...b])));
      // Who names no fields gets the usual ones, whatever is sent for others.
      const sent = encoded(unionOfMasks([first, undefined]));
      assert.deepEqual(cutRuns(sent, USUAL_FIELDS), encoded());
      assert.deepEqual(cutRuns(sent, first), encoded(first));
    }),
  );
});

test('an event that would be too long with all that can be named has less of it, and leaves the next one whole', () => {
  // What is no UTF-8 takes three times its bytes.
  const args = ['\ufffd'.repeat(16 * 1024)];
  const [path, name] = [`/${'p'.repeat(4_000)}`, 'p'.repeat(4_000)];
  const process = { ...FULL.process!, commandArgs: args, executable: { path, name }, workingDirectory: path };
  const parent = { pid: 1, executable: { path, name }, commandArgs: args };
  const long = { ...FULL, process: { ...process, parent, ancestors: new Array(8).fill(name) } };
  // The longest names that a runtime's answer is cut to, and paths that are still told.
  const { type, topic, position, wallNs } = FULL;
  const [text, half] = ['\ufffd'.repeat(256), `/${'p'.repeat(3_580)}`];
  const container = { id: 'a'.repeat(64), name: text, image: { name: text + text, tags: ['\ufffd'.repeat(128)] } };
  const k8s = { podName: text, podUid: text, namespaceName: text };
  const cgroup = { path };
  const file = { ...FULL.file!, path: half, newPath: half };
  const named = { type, topic, position, wallNs, process: { ...long.process, cgroup }, container, k8s, file };
  for (const event of [long, named])
    for (const mask of [undefined, compileFieldMask(EVENT_FIELDS), compileFieldMask(['process.ancestors'])]) {
      const writer = new EventWriter(1);
      assert.ok(writer.write(event, mask) <= EVENT_BYTES_MAX);
      writer.take();
      writer.write(FULL, mask);
      assert.deepEqual(json(writer.take()), json(encoded(mask)).slice(0, 1));
    }
});

test('an event has what must be named only where it is named', () => {
  assert.deepEqual(encoded(), cutRuns(whole(), USUAL_FIELDS));
  const [event] = json(encoded());
  const process = event!['process'] as Record<string, Record<string, unknown>>;
  assert.deepEqual(process['parent'], { pid: 1, executable: { path: '/sbin/init', name: 'init' } });
  assert.deepEqual(process['user'], { id: 0 });
  for (const name of ['ancestors', 'commandLine']) assert.ok(!(name in process), name);
  const [named] = json(encoded(compileFieldMask(['process.command_line', 'process.ancestors'])));
  assert.deepEqual(named!['process'], { commandLine: 'sh  -c', ancestors: ['init', 'a'.repeat(200)] });
  assert.equal(unionOfMasks([undefined, compileFieldMask(['process'])]), undefined);
});

test('bytes that are no events are refused, never read beyond their end', () => {
  const mask = compileFieldMask(['process.executable.path', 'raw']);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), (noise, at) => {
      const bytes = encoded();
      bytes.set(
        noise.subarray(0, bytes.length),
        at % bytes.length > bytes.length - noise.length ? 0 : at % bytes.length,
      );
      try {
        assert.ok(cutRuns(bytes, mask).length <= bytes.length);
      } catch (cause) {
        assert.ok(cause instanceof BackplaneError, String(cause));
      }
    }),
    { numRuns: runs(2000) },
  );
});

test('what may be inferred comes with its mark, and nothing else does', () => {
  const marked = ['process.user.id', 'process.user', 'process.executable.name', 'process.working_directory'];
  for (const path of [...marked, 'process.cgroup.path', 'container', 'container.id']) {
    const [event] = json(encoded(compileFieldMask([path])));
    const { inferred } = event!['process'] as Record<string, unknown>;
    assert.deepEqual(inferred, ['user', 'cgroup'], path);
  }
  const others = compileFieldMask(['process.pid', 'process.parent.executable', 'process.login_user']);
  assert.ok(!('inferred' in (json(encoded(others))[0]!['process'] as object)));
});
