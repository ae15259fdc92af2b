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
import { readExecutable } from '../../../../src/sensor-agent/source/probe/elf.js';
import { abandonProof, proofNames } from '../../../../src/sensor-agent/source/probe/proof.js';
import { put } from '../../../../src/sensor-agent/source/tracefs/put.js';
import { cannotProbePrograms, liveTracefs } from '../../../harness/kernel/live-kernel.js';
import { linkerPath } from '../../../harness/kernel/other-tool.js';

const ID = `test-${process.pid}-proof`;

test('a proof that was broken off leaves what another instance has recorded', {
  skip: cannotProbePrograms(),
}, () => {
  const { path } = liveTracefs();
  const instance = (name: string) => join(path, 'instances', name);
  const linker = linkerPath();
  const place = `${linker}:0x${readExecutable(linker)!.entryOffset.toString(16)}`;
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
    for (const [at, name] of proofNames(ID).entries()) {
      const trial = `${trialGroup(ID)}/trial${at}`;
      mkdirSync(instance(name));
      define(path, trial, place, 'argc=+0(%sp):u64');
      switchOn(instance(name), trial, true);
    }
    abandonProof(path, ID);
    for (const name of proofNames(ID)) assert.equal(existsSync(instance(name)), false);
    assert.deepEqual(definitionsOf(path, trialGroup(ID)), []);
    assert.deepEqual(definitionsOf(path, recordedGroup(ID)), [recorded]);
    assert.equal(recordedEntries(), before);
  } finally {
    rmdirSync(main);
    for (const name of proofNames(ID)) if (existsSync(instance(name))) rmdirSync(instance(name));
    for (const group of [trialGroup(ID), recordedGroup(ID)]) undefineAll(path, group);
  }
});
