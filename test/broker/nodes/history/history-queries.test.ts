/** A query has its place on a node until the node has said how it ended, also one that was cancelled. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HistoryAnswer, type HistoryOutcome } from '../../../../src/broker/nodes/history/history-answer.js';
import { HistoryQueries } from '../../../../src/broker/nodes/history/history-queries.js';
import { HISTORY_FRAME_BYTES, HISTORY_QUERIES_PER_CLIENT_MAX } from '../../../../src/limits.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { type ControlResponse, historyEndCodec } from '../../../../src/wire/messages.js';
import { Harness, until } from '../../../harness/broker/harness.js';

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true }).spec;
const request = { client: 'me', predicates: [predicate], last: 0, creditBytes: 65536 };

/** HistoryRequest { query_id = 1; end = 3 } */
function endOf(queryId: number): Buffer {
  const end = historyEndCodec.encode({ source: 'synthetic' });
  return Buffer.concat([Buffer.from([1 << 3, queryId, (3 << 3) | 2, end.length]), end]);
}

/** HistoryRequest { query_id = 1; frame = 2 }, of so many bytes. */
function frameOf(queryId: number, bytes: number): Buffer {
  const head = Buffer.from([1 << 3, queryId, (2 << 3) | 2, (bytes & 0x7f) | 0x80, bytes >> 7]);
  return Buffer.concat([head, Buffer.alloc(bytes)]);
}

function desk(cancelMs: number, placeMs = 60_000) {
  const sent: ControlResponse[] = [];
  const silences: string[] = [];
  const it = new HistoryQueries(
    'a',
    (message) => sent.push(message),
    (message) => silences.push(message),
    cancelMs,
    placeMs,
  );
  const asked = () => sent.flatMap(({ historyQuery }) => (historyQuery ? [Number(historyQuery.queryId)] : []));
  const cancels = () => sent.flatMap(({ historyCancel }) => (historyCancel ? [Number(historyCancel.queryId)] : []));
  return { it, asked, cancels, silences };
}

test('of 400 queries that are cancelled at once, the node is asked only as many as it may run', () => {
  const { it, asked, cancels } = desk(60_000);
  for (let i = 0; i < 400; i++) it.query(request).cancel();
  const first = Array.from({ length: HISTORY_QUERIES_PER_CLIENT_MAX }, (_, at) => at + 1);
  assert.deepEqual(asked(), first);
  assert.deepEqual(cancels(), first);
  const wanted = it.query(request);
  assert.deepEqual(asked(), first, 'it waits for its turn');
  it.receive(endOf(3));
  assert.deepEqual(asked(), [...first, 401]);
  it.close('over');
  assert.equal(wanted.outcome?.kind, 'failed');
});

test('a node that never ends cancelled queries is reported as silent, and one that ends them is not', async () => {
  const { it, silences } = desk(20);
  const answers = [it.query(request), it.query(request)];
  for (const answer of answers) answer.cancel();
  it.receive(endOf(1));
  while (silences.length === 0) await sleep(5);
  assert.deepEqual(silences, ['history query 2 has not ended within 20 ms of its cancellation']);
});

test('one client never holds all places, and waiting queries are served in turns of clients', () => {
  const { it, asked } = desk(60_000);
  for (let i = 0; i < 40; i++) it.query({ ...request, client: 'greedy' });
  assert.equal(asked().length, HISTORY_QUERIES_PER_CLIENT_MAX);
  for (const client of ['a', 'a', 'a', 'a', 'b']) it.query({ ...request, client });
  assert.deepEqual(asked().slice(HISTORY_QUERIES_PER_CLIENT_MAX), [41, 42, 43, 44], 'the other places are for others');
  it.receive(endOf(1));
  assert.deepEqual(asked().at(-1), 45, 'who has no place goes first, whoever has waited for longer');
  it.close('over');
});

test('a query whose reader stalls gives its place to a waiting one, and only as many places go as queries wait', async () => {
  const { it, asked, cancels } = desk(60_000, 30);
  const read = it.query({ ...request, client: 'reads' });
  const stalled = Array.from({ length: 15 }, (_, at) => it.query({ ...request, client: `stalled-${at}` }));
  for (let id = 1; id <= 16; id++) it.receive(frameOf(id, 1000));
  const readOn = async () => {
    while ((await read.next()) !== undefined);
  };
  void readOn();
  try {
    await sleep(100);
    assert.deepEqual(cancels(), [], 'nobody waits');
    it.query({ ...request, client: 'waits' });
    while (cancels().length === 0) await sleep(5);
    assert.equal(cancels().length, 1);
    const [displaced] = cancels();
    assert.notEqual(displaced, 1);
    it.receive(endOf(displaced!));
    assert.equal(asked().at(-1), 17);
    const answer = stalled[displaced! - 2]!;
    assert.equal((await answer.next())?.length, 1000, 'what had come can still be read');
    assert.equal(await answer.next(), undefined);
    assert.equal(answer.displaced, true);
    assert.equal(read.outcome, undefined);
  } finally {
    it.close('over');
  }
});

test('a query fails when its node only trickles bytes, and does not when the node sends whole frames', async () => {
  const patienceMs = 400;
  const over = async (bytes: number, times: number) => {
    const answer = new HistoryAnswer(
      'a',
      1 << 30,
      () => undefined,
      () => undefined,
      patienceMs,
    );
    answer.begin();
    const sending = setInterval(() => answer.receive(Buffer.alloc(bytes)), 20);
    let frames = 0;
    while (frames < times && (await answer.next()) !== undefined) frames += 1;
    clearInterval(sending);
    return answer.outcome;
  };
  const trickled = await over(100, Number.POSITIVE_INFINITY);
  assert.match(trickled?.kind === 'failed' ? trickled.message : '', /too little was heard of it/);
  assert.equal(await over(HISTORY_FRAME_BYTES, 60), undefined);
});

test('time spent waiting for a turn does not count as waiting for the node', async () => {
  const answer = new HistoryAnswer(
    'a',
    1 << 20,
    () => undefined,
    () => undefined,
    20,
  );
  const next = answer.next();
  await sleep(100);
  assert.equal(answer.outcome, undefined);
  answer.begin();
  await next;
  assert.equal((answer.outcome as HistoryOutcome | undefined)?.kind, 'failed');
});

test('after 400 histories were closed at once, the node answers the next one', async () => {
  const harness = await Harness.start();
  try {
    const agent = await harness.agent('a');
    for (let pid = 0; pid < 500; pid++) agent.recorder.record('process.exec', pid);
    const url = `http://${harness.broker.httpAddress}/v1/events?topic=process&since=1h&follow=true`;
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
    const replay = harness.subscribe({ topics: ['process'], since: '1h' });
    await replay.end();
    assert.equal(replay.pids.length, 500);
    assert.equal(replay.coverage?.nodes[0]?.events, '500');
    await until('nothing runs', () => agent.runningQueries === 0);
    assert.equal(agent.ended, undefined, 'its session was not closed');
  } finally {
    await harness.destroy();
  }
});
