/** Which probes are defined: those whose functions are handed what is expected, as this kernel describes itself. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OWN_ARCHITECTURE } from '../../../../src/architecture/architecture.js';
import { CALL_POINTS, defineCallPoints, unnamedOf } from '../../../../src/sensor-agent/source/calls/call-points.js';
import { kernelTypes } from '../../../../src/sensor-agent/source/probe/btf.js';
import { allDefinitions, recordedGroup } from '../../../../src/sensor-agent/source/probe/definitions.js';
import { undefinePoints } from '../../../../src/sensor-agent/source/probe/recorded-points.js';
import { cannotProbeKernel, liveTracefs } from '../../../harness/kernel/live-kernel.js';

const ID = `calls-${process.pid}`;
const GROUP = recordedGroup(ID);
const names = (events: readonly string[]) => events.map((event) => event.replace(`${GROUP}/`, '')).sort();

/** A folder with the files that definitions are written to. */
function folder(files: readonly string[]): string {
  const path = mkdtempSync(join(tmpdir(), 'backplane-calls-'));
  for (const file of files) writeFileSync(join(path, file), 'p:others/probe do_exit\n');
  return path;
}

test('without kprobes there are none, and each says why', () => {
  const path = folder(['dynamic_events']);
  try {
    const { events, refused } = defineCallPoints(path, ID);
    assert.deepEqual(events, []);
    assert.deepEqual([...refused.keys()].sort(), CALL_POINTS.toSorted());
    for (const cause of refused.values()) assert.equal(cause, 'this kernel has no kprobes');
    assert.equal(readFileSync(join(path, 'dynamic_events'), 'utf8'), 'p:others/probe do_exit\n');
  } finally {
    rmSync(path, { recursive: true });
  }
});

test('what is not named for want of a probe is said by type, whole or in part', () => {
  const all = unnamedOf(new Map(CALL_POINTS.map((point) => [point, 'why'])));
  const types = ['mount', 'umount', 'fsopen', 'fsconfig', 'move_mount', 'memfd_create'];
  assert.deepEqual([...all.keys()].sort(), types.map((name) => `security.${name}`).sort());
  const copy = "as the kernel's own copy cannot be had:";
  for (const text of all.values()) assert.equal(text, `what it names is not known, ${copy} why`);
  const part = unnamedOf(
    new Map([
      ['place_mount', 'x'],
      ['name_memfd_huge', 'y'],
    ]),
  );
  assert.deepEqual(
    [...part],
    [
      ['security.mount', `of what it names place_mount is not known, ${copy} x`],
      ['security.memfd_create', `of what it names name_memfd_huge is not known, ${copy} y`],
    ],
  );
  assert.deepEqual(unnamedOf(new Map()), new Map());
});

test('each is defined once, after those of others, or says why it is not', {
  skip: kernelTypes() === undefined ? 'this kernel does not describe itself' : false,
}, () => {
  const path = folder(['dynamic_events', 'kprobe_events']);
  const lines = () => readFileSync(join(path, 'dynamic_events'), 'utf8').split('\n').slice(1, -1);
  try {
    const { events, refused } = defineCallPoints(path, ID);
    assert.deepEqual([...names(events), ...refused.keys()].sort(), CALL_POINTS.toSorted());
    for (const cause of refused.values()) assert.match(cause, /^\w/);
    assert.deepEqual(names(lines().map((line) => line.split(' ')[0]!.slice(2))), names(events));
    for (const line of lines()) assert.ok(line.length < 4_094, `${line.length} characters`);
    const [source, , type] = OWN_ARCHITECTURE!.registers;
    if (!refused.has('name_mount'))
      assert.ok(
        lines().includes(`p:${GROUP}/name_mount path_mount source=+0(${source}):string type=+0(${type}):string`),
      );
    const before = lines();
    assert.deepEqual(names(defineCallPoints(path, ID).events), names(events));
    assert.deepEqual(lines(), before);
  } finally {
    rmSync(path, { recursive: true });
  }
});

test('a kernel with kprobes takes all that its description has, and keeps none that is taken away', {
  skip: cannotProbeKernel(),
}, () => {
  const tracefs = liveTracefs().path;
  const ours = () => (allDefinitions(tracefs) ?? []).filter((event) => event.startsWith(`${GROUP}/`));
  try {
    const { events, refused } = defineCallPoints(tracefs, ID);
    for (const [name, cause] of refused) assert.match(cause, /^this kernel |is handed/, `${name}: ${cause}`);
    assert.deepEqual(names(ours()), names(events));
    // Every kernel since 5.9 that describes itself.
    if (kernelTypes() !== undefined) assert.deepEqual([...refused], []);
  } finally {
    undefinePoints(tracefs, ID);
  }
  assert.deepEqual(ours(), []);
});
