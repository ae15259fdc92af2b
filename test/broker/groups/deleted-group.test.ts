/** What a disk that takes nothing leaves of a group that is deleted. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { TestMember } from '../../harness/broker/group-member.js';
import { Harness } from '../../harness/broker/harness.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(() => {
  harness = new Harness();
});
afterEach(() => harness.destroy());

test('a group whose parked places cannot be forgotten is gone all the same, and the others are listed', async () => {
  harness.groups = { memberMs: 10_000, commitMs: 300_000, revokeMs: 50, interestMs: 50, cursorsMs: 86_400_000 };
  await harness.startBroker();
  const agent = await harness.agent('a');
  agent.recorder.record('process.exec', 1);
  agent.publish();
  const one = new TestMember(harness, 'g', { topics: ['process'], since: '1h' });
  await until('the event came', () => one.subscriber.events.length > 0);
  await one.commit();
  one.cancel();
  const file = () =>
    readdirSync(harness.dataDir, { recursive: true, encoding: 'utf8' }).find((path) => path.endsWith('parked.json'));
  await until('places are parked', () => file() !== undefined);
  const path = join(harness.dataDir, file()!);
  rmSync(path);
  mkdirSync(join(path, 'in-the-way'), { recursive: true });
  const groups = `http://${harness.broker.httpAddress}/v1/groups`;
  assert.notEqual((await fetch(`${groups}/g`, { method: 'DELETE' })).status, 404);
  const answer = await fetch(groups);
  assert.equal(answer.status, 200, await answer.text());
});
