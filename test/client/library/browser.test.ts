/** The client library in a browser: a page of an origin that the broker names, and one of another. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Harness } from '../../harness/broker/harness.js';
import { tokenFile } from '../../harness/bus/token.js';
import { LibraryPage } from '../../harness/library-page.js';
import { until } from '../../harness/until.js';

const page = await LibraryPage.start();

/** Every second event is asked for, and one that comes when the first were read. */
const SCRIPT = `
  const bus = await connect({ brokers: [given.http], token: given.token });
  const pids = [];
  const feed = bus.subscribe({ topics: ['process'], filter: 'process.pid % 2 == 0', since: '1h', follow: true });
  for await (const item of feed) {
    if (item.kind !== 'event') continue;
    pids.push([item.event.process.pid, typeof item.event.timeNs]);
    if (pids.length === 11) break;
  }
  return { pids, cursor: feed.cursor };`;

test('a page reads a stream of the past and live, where its origin is named', { skip: page.missing }, async (t) => {
  t.after(() => page.close());
  const harness = new Harness();
  harness.origins = [page.origin];
  harness.wantsToken = true;
  await harness.startBroker();
  t.after(() => harness.destroy());
  const agent = await harness.agent('a');
  for (let pid = 1; pid <= 20; pid += 1) agent.recorder.record('process.exec', pid);
  const given = { http: harness.broker.httpAddress, token: readFileSync(tokenFile(harness.dataDir), 'utf8').trim() };
  const reading = page.run(SCRIPT, given) as Promise<{ pids: [number, string][]; cursor: string }>;
  let hasPublished = false;
  const publishing = until('the page is live', () => agent.topics.includes('process')).then(() => {
    agent.recorder.record('process.exec', 22);
    agent.publish();
    hasPublished = true;
  });
  const { pids, cursor } = await reading;
  await publishing;
  assert.ok(hasPublished);
  assert.deepEqual(
    pids,
    Array.from({ length: 11 }, (_, at) => [2 * at + 2, 'bigint']),
  );
  assert.notEqual(cursor, '');
  await until('the broker knows that it is gone', async () => {
    const answer = await fetch(`http://${given.http}/v1/subscriptions`, {
      headers: { authorization: `Bearer ${given.token}` },
    });
    return ((await answer.json()) as { subscriptions: [] }).subscriptions.length === 0;
  });

  const other = await LibraryPage.start();
  t.after(() => other.close());
  await assert.rejects(other.run(SCRIPT, given) as Promise<unknown>, /Failed to fetch/);
});
