/** A data directory of version 0.1, which had a log for each topic and partition. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { PARTITIONS } from '../../../src/limits.js';
import { Harness, range } from '../../harness/broker/harness.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const broker = (...names: string[]) => join(harness.dataDir, 'broker', ...names);

test('the log of version 0.1 is put aside with one sentence; its nodes stay known, and history is complete', async () => {
  const { agent, subscriber: before } = await harness.delivered(range(0, 20));
  await harness.interestIsSaved();
  await harness.broker.abort();
  // Version 0.1 had no partition directories.
  for (let at = 0; at < PARTITIONS; at++) rmSync(broker('log', `partition-${at}`), { recursive: true });
  for (const name of ['process-3', 'host-0']) {
    mkdirSync(broker('log', name));
    writeFileSync(broker('log', name, '0000000000000000.log'), 'frames of that version');
  }
  const identity = readFileSync(broker('log', 'identity'), 'utf8');
  harness.logged.length = 0;
  await harness.startBroker();
  const warned = harness.logged.filter(({ level }) => level === 40).map(({ msg }) => msg);
  assert.equal(warned.length, 1, warned.join('\n'));
  assert.match(warned[0]!, /^the log of version 0\.1 is kept in .*\/log\/version-0\.1 and not read: /);
  assert.ok(existsSync(broker('log', 'version-0.1', 'process-3', '0000000000000000.log')));
  assert.equal(readFileSync(broker('log', 'version-0.1', 'identity'), 'utf8'), identity);
  assert.notEqual(readFileSync(broker('log', 'identity'), 'utf8'), identity, 'its cursors are not taken');
  const refused = harness.subscribe({ topics: ['process'], follow: true, cursor: before.cursor });
  await assert.rejects(refused.isAccepted(), /cursor is of another broker, or of this one before its data was removed/);
  const { nodes } = (await (await fetch(`http://${harness.broker.httpAddress}/v1/nodes`)).json()) as {
    nodes: { name: string }[];
  };
  assert.deepEqual(
    nodes.map(({ name }) => name),
    ['a'],
  );
  await harness.agent('a', agent.recorder);
  const after = harness.subscribe({ topics: ['process'], since: '1h' });
  await after.end();
  assert.deepEqual(after.pids, range(0, 20));

  // The second start has nothing to put aside, and logs nothing.
  await harness.broker.abort();
  harness.logged.length = 0;
  await harness.startBroker();
  assert.deepEqual(
    harness.logged.filter(({ level }) => level === 40),
    [],
  );
});
