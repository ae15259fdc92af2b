/** A query has its place on a node until the node has said how it ended, also one that was cancelled. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HistoryDesk } from '../../src/broker/nodes/history-desk.js';
import { HISTORY_QUERIES_PER_AGENT_MAX } from '../../src/limits.js';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { type ControlResponse, historyEndCodec } from '../../src/wire/messages.js';
import { Harness, until } from './harness.js';

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true }).spec;
const request = { predicate, last: 0, creditBytes: 65536 };

/** HistoryRequest { query_id = 1; end = 3 } */
function endOf(queryId: number): Buffer {
  const end = historyEndCodec.encode({ source: 'synthetic' });
  return Buffer.concat([Buffer.from([1 << 3, queryId, (3 << 3) | 2, end.length]), end]);
}

function desk(cancelMs: number) {
  const sent: ControlResponse[] = [];
  const silences: string[] = [];
  const it = new HistoryDesk(
    'a',
    (message) => sent.push(message),
    (message) => silences.push(message),
    cancelMs,
  );
  const asked = () => sent.flatMap(({ historyQuery }) => (historyQuery ? [Number(historyQuery.queryId)] : []));
  const cancels = () => sent.flatMap(({ historyCancel }) => (historyCancel ? [Number(historyCancel.queryId)] : []));
  return { it, asked, cancels, silences };
}

test('of 400 queries that are cancelled at once the node is asked as many as it runs, and no more', () => {
  const { it, asked, cancels } = desk(60_000);
  for (let i = 0; i < 400; i++) it.query(request).cancel();
  const first = Array.from({ length: HISTORY_QUERIES_PER_AGENT_MAX }, (_, at) => at + 1);
  assert.deepEqual(asked(), first);
  assert.deepEqual(cancels(), first);
  const wanted = it.query(request);
  assert.deepEqual(asked(), first, 'it waits for its turn');
  it.receive(endOf(3));
  assert.deepEqual(asked(), [...first, 401]);
  it.close('over');
  assert.equal(wanted.outcome?.kind, 'failed');
});

test('a node that does not end what was cancelled is told as silent, one that does is not', async () => {
  const { it, silences } = desk(20);
  const answers = [it.query(request), it.query(request)];
  for (const answer of answers) answer.cancel();
  it.receive(endOf(1));
  while (silences.length === 0) await sleep(5);
  assert.deepEqual(silences, ['history query 2 has not ended within 20 ms of its cancellation']);
});

test('400 histories that are closed at once leave a node that answers the next one', async () => {
  const harness = await Harness.start();
  try {
    const agent = await harness.agent('a');
    for (let pid = 0; pid < 500; pid++) agent.recorder.record('process.exec', pid);
    const url = `http://${harness.broker.httpAddress}/v1/events?topic=process&since=10m&follow=true`;
    for (let round = 0; round < 40; round++) {
      const requests = Array.from({ length: 10 }, async () => {
        const abort = new AbortController();
        const response = fetch(url, { signal: abort.signal }).catch(() => undefined);
        await sleep(round % 4);
        abort.abort();
        await response;
      });
      await Promise.all(requests);
    }
    const replay = harness.subscribe({ topics: ['process'], since: '10m' });
    await replay.end();
    assert.equal(replay.pids.length, 500);
    assert.equal(replay.coverage?.nodes[0]?.events, '500');
    await until('nothing runs', () => agent.runningQueries === 0);
    assert.equal(agent.ended, undefined, 'its session was not closed');
  } finally {
    await harness.destroy();
  }
});
