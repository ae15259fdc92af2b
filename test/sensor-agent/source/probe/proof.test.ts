/** What an agent that was killed while it proved its probes left: what it had proved before stays, and what that recorded. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  define,
  definitionsOf,
  recordedGroup,
  trialGroup,
  undefineAll,
} from '../../../../src/sensor-agent/source/probe/definitions.js';
import { abandonProof, proofName, withProof } from '../../../../src/sensor-agent/source/probe/proof.js';
import { put } from '../../../../src/sensor-agent/source/tracefs/put.js';
import { cannotProbePrograms, liveTracefs } from '../../../harness/kernel/live-kernel.js';
import { linkerPlace } from '../../../harness/kernel/other-tool.js';

const ID = `test-${process.pid}-proof`;
const { path } = liveTracefs();
const skip = cannotProbePrograms();
const instance = (name: string) => join(path, 'instances', name);
const proof = instance(proofName(ID));
const trial = `${trialGroup(ID)}/trial`;

test('a proof that was broken off leaves what another instance has recorded', { skip }, () => {
  const place = linkerPlace();
  const recorded = `${recordedGroup(ID)}/proved`;
  const main = instance(`backplane-${ID}`);
  const recordedEntries = () => readFileSync(join(main, 'trace'), 'utf8').match(/ proved: /g)?.length ?? 0;
  const switchOn = (where: string, event: string, on: boolean) =>
    put(join(where, 'events', event, 'enable'), on ? '1' : '0');
  try {
    mkdirSync(main);
    define(path, recorded, place, 'argc=+0(%sp):u64');
    // Recorded while somebody asked for it, and off since.
    switchOn(main, recorded, true);
    for (let run = 0; run < 5; run++) spawnSync('/bin/true');
    switchOn(main, recorded, false);
    const before = recordedEntries();
    assert.ok(before >= 5);
    mkdirSync(proof);
    define(path, trial, place, 'argc=+0(%sp):u64');
    switchOn(proof, trial, true);
    abandonProof(path, ID);
    assert.deepEqual([definitionsOf(path, trialGroup(ID)), existsSync(proof)], [[], false]);
    assert.deepEqual(definitionsOf(path, recordedGroup(ID)), [recorded]);
    assert.equal(recordedEntries(), before);
  } finally {
    rmdirSync(main);
    if (existsSync(proof)) rmdirSync(proof);
    for (const group of [trialGroup(ID), recordedGroup(ID)]) undefineAll(path, group);
  }
});

test('the instance and the probes of a proof are there until it has ended, and no longer', { skip }, async () => {
  const seen = await withProof(path, ID, async (where) => {
    define(path, trial, linkerPlace(), '');
    await new Promise(setImmediate);
    return [definitionsOf(path, trialGroup(ID)), existsSync(where)];
  });
  assert.deepEqual(seen, [[trial], true]);
  const failing = withProof(path, ID, () => {
    define(path, trial, linkerPlace(), '');
    return Promise.reject(new Error('not proved'));
  });
  await assert.rejects(failing, /^Error: not proved$/);
  assert.deepEqual([definitionsOf(path, trialGroup(ID)), existsSync(proof)], [[], false]);
});
