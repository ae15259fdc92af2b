/** Topics that another filter adds to a group. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveGroup } from '../../../src/broker/groups/live-group.js';
import { idsOf, published } from '../../harness/broker/documents.js';
import { TestMember } from '../../harness/broker/group-member.js';
import { Harness } from '../../harness/broker/harness.js';
import { until } from '../../harness/until.js';

const SLICES = 8;
const NODES = ['a', 'b'];

test('topics that are born in the broker begin behind what is committed, whoever was away meanwhile', async () => {
  const harness = new Harness();
  const { standsNs } = LiveGroup.prototype;
  try {
    await harness.startBroker();
    const agents = await Promise.all(NODES.map((node) => harness.agent(node)));
    const member = (topics: string[]) =>
      new TestMember(harness, 'g', { topics, since: '1h', group: { slices: SLICES } });
    const first = member(['process']);
    await first.has(SLICES);
    for (const agent of agents) {
      agent.recorder.record('process.exec', 1);
      agent.publish();
    }
    await first.subscriber.until('the events', () => first.subscriber.events.length === NODES.length);
    await first.commit();
    first.cancel();
    const ids = NODES.map((key) => `behind ${key}`);
    // By its key each is of a slice that has committed something.
    const documents = NODES.map((key) => published(`behind ${key}`, {}, { key }));
    await harness.publisher().publish('app.jobs', documents);
    const answer = await fetch(`http://${harness.broker.httpAddress}/v1/groups/g/filter`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ filter: '', topics: ['process', 'app.jobs'] }),
    });
    assert.equal(answer.status, 200);
    const lag = async () => {
      const shown = await fetch(`http://${harness.broker.httpAddress}/v1/groups/g`);
      return ((await shown.json()) as { group: { lagEvents: string } }).group.lagEvents;
    };
    await until('what was published to be counted', async () => (await lag()) === String(ids.length), lag);
    LiveGroup.prototype.standsNs = () => assert.fail('who may have all of a group has no log read for where it stands');
    const after = member(['process', 'app.jobs']);
    await until('what was published meanwhile', () => ids.every((id) => idsOf(after.subscriber).includes(id)));
  } finally {
    LiveGroup.prototype.standsNs = standsNs;
    await harness.destroy();
  }
});
