/** What an agent leaves that is killed while it proves its probes. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  allDefinitions,
  define,
  queriesGroup,
  recordedGroup,
  undefineAll,
} from '../../../../src/sensor-agent/source/probe/definitions.js';
import { abandonProof, proofName, withProof } from '../../../../src/sensor-agent/source/probe/proof.js';
import { liveTracefs } from '../../../harness/kernel/live-kernel.js';

const { path: tracefs, skip } = liveTracefs();
const ID = `test-${process.pid}-proof`;
const GROUPS = [recordedGroup(ID), queriesGroup(ID)];
const instance = join(tracefs, 'instances', proofName(ID));
const left = () => (allDefinitions(tracefs) ?? []).filter((event) => GROUPS.some((group) => event.startsWith(group)));

test('what was not proved goes, copies of datagrams too', { skip }, (t) => {
  t.after(() => {
    for (const group of GROUPS) undefineAll(tracefs, group);
  });
  // Whatever a definition probes, it is told by its name.
  for (const group of GROUPS) define(tracefs, `${group}/x`, `${process.execPath}:0x1000`, '');
  abandonProof(tracefs, ID);
  assert.equal(left().length, 2, 'nothing was being proved');
  mkdirSync(instance);
  abandonProof(tracefs, ID);
  assert.deepEqual([left(), existsSync(instance)], [[], false]);
});

test('the instance of a proof is there until the proof has ended, and no longer', { skip }, async () => {
  const seen = await withProof(tracefs, ID, async (path) => {
    await new Promise(setImmediate);
    return existsSync(path);
  });
  assert.deepEqual([seen, existsSync(instance)], [true, false]);
  const failing = withProof(tracefs, ID, () => Promise.reject(new Error('not proved')));
  await assert.rejects(failing, /^Error: not proved$/);
  assert.ok(!existsSync(instance));
});
