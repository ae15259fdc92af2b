/** Probes in files where the kernel would wait, and the machine with it, to place or to remove one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { definitionsOf, probeGroup } from '../../../../src/sensor-agent/source/probe/definitions.js';
import { ExecProbe } from '../../../../src/sensor-agent/source/probe/exec-probe.js';
import { by, cleanups, LINKERS, mark, marked, options } from '../../../harness/kernel/exec-ways.js';
import { until } from '../../../harness/until.js';

by(LINKERS, 'while a process keeps the lock of its memory no probe is placed, and none removed', async (way) => {
  let answer = false;
  const given = { ...options(), memoriesAnswer: () => answer };
  const { tracefs, name, recorderId, seen } = given;
  const left = () => [
    existsSync(join(tracefs, 'instances', name)),
    definitionsOf(tracefs, probeGroup(recorderId))!.length > 0,
  ];
  cleanups.push(() => ExecProbe.clear(tracefs, recorderId, name));
  assert.throws(() => new ExecProbe(given, way), /a probe could not be placed/);
  assert.deepEqual(left(), [false, false]);
  answer = true;
  const first = new ExecProbe(given, way);
  await first.prove();
  answer = false;
  await first.stop();
  assert.deepEqual(left(), [true, true]);
  // They go on, for the next agent.
  const text = mark();
  spawnSync('/bin/true', [text]);
  answer = true;
  const next = new ExecProbe(given, way);
  assert.ok(next.goesOn);
  await until('what was copied meanwhile', () => {
    next.drain();
    return marked(seen, text).length > 0;
  });
  await next.stop();
  assert.deepEqual(left(), [false, false]);
});
