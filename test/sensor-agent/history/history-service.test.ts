/** Every history query ends with exactly one end, works in its own turn, and costs nothing when it is cancelled before. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { CreditBalance } from '../../../src/flow/credit.js';
import { TokenBucket } from '../../../src/flow/token-bucket.js';
import {
  HISTORY_CREDIT_BYTES,
  HISTORY_HOLDERS_MAX,
  HISTORY_QUERIES_AT_ONCE_MIN,
  HISTORY_QUERIES_PER_AGENT_MAX,
  HISTORY_QUERIES_QUEUED_MAX,
  HISTORY_QUEUE_BYTES_MAX,
} from '../../../src/limits.js';
import { HistoryService, queriesAtOnce } from '../../../src/sensor-agent/history/history-service.js';
import { HistoryTurns } from '../../../src/sensor-agent/history/history-turns.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { decodeHistoryFrame } from '../../../src/wire/frame/history-frame.js';
import { type RecordedStep, RecordingDriver, Told } from '../../harness/recording-driver.js';
import { until } from '../../harness/until.js';

const QUERIES = 400;
const entry = { lane: 0, afterNs: 900n, pid: 7, what: 'exec', read: 'at once' } as const;
const step: RecordedStep = { entries: Array.from({ length: 50 }, () => entry), lost: 0, crash: false, wallStepNs: 0n };
const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const window = { sinceNs: undefined, untilNs: undefined, after: undefined, upTo: undefined, last: 0 };
const request = { predicates: [predicate.spec], window };

interface Service {
  readonly history: HistoryService;
  /** By query id: how it ended, each time. */
  readonly ends: Map<number, string[]>;
  readonly room: CreditBalance;
  /** By query id: the times of the events that it told. */
  readonly told: Map<number, bigint[]>;
  /** Requests that had their turn. */
  prepared: number;
}

async function withService(
  roomBytes: number,
  run: (service: Service) => Promise<void>,
  { rounds = 40, last = 0, turns = new HistoryTurns(), residentBytesMax = Number.POSITIVE_INFINITY } = {},
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    const driver = new RecordingDriver(dir, new Told());
    for (let round = 0; round < rounds; round++) driver.step(step);
    driver.finish();
    const ends = new Map<number, string[]>();
    const note = (queryId: number, how: string) => ends.set(queryId, [...(ends.get(queryId) ?? []), how]);
    const room = new CreditBalance(roomBytes);
    const reply = {
      room,
      frame: (queryId: number, bytes: Buffer) => {
        room.take(bytes.length);
        const positions = decodeHistoryFrame(bytes).timesNs;
        service.told.set(queryId, [...(service.told.get(queryId) ?? []), ...positions]);
      },
      end: (queryId: number) => note(queryId, 'whole'),
      fail: (queryId: number, error: Error) => note(queryId, error.message),
    };
    const prepare = () => {
      service.prepared += 1;
      return {
        predicates: [{ id: predicate.id, predicate }],
        window: { ...window, last, upTo: driver.recorder.timeline.frontier },
      };
    };
    const budget = new TokenBucket(1e9, 1e9);
    const history = new HistoryService(driver.recorder, reply, budget, prepare, turns, residentBytesMax);
    const service: Service = { history, ends, room, prepared: 0, told: new Map() };
    await run(service);
    history.close();
    await driver.recorder.close();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** For as long as something goes on. */
async function untilIdle({ history, ends }: Service): Promise<void> {
  let ended = ends.size;
  for (let turns = 0; history.size > 0; turns++) {
    assert.ok(turns < 1_000_000, `${history.size} queries have not ended`);
    await turn();
    if (ends.size !== ended) turns = 0;
    ended = ends.size;
  }
}

test('queries that are cancelled before their turn never start, and each has its end', async () => {
  await withService(1e9, async (service) => {
    const { history, ends } = service;
    for (let queryId = 1; queryId <= QUERIES; queryId++) {
      history.start(queryId, request, HISTORY_CREDIT_BYTES);
      history.cancel(queryId);
      history.cancel(queryId);
      assert.ok(history.size <= HISTORY_QUERIES_PER_AGENT_MAX, 'what is cancelled makes room at once');
      if (queryId % HISTORY_QUERIES_PER_AGENT_MAX === 0) await untilIdle(service);
    }
    await untilIdle(service);
    assert.equal(service.prepared, 0);
    assert.equal(ends.size, QUERIES);
    for (const [queryId, how] of ends) assert.deepEqual(how, ['history query cancelled'], `query ${queryId}`);
    history.start(1, request, HISTORY_CREDIT_BYTES);
    await untilIdle(service);
    assert.deepEqual(ends.get(1), ['history query cancelled', 'whole'], 'its id is free again, and it is answered');
  });
});

test('queued queries start one per turn of the event loop, and cancelled ones end at any stage', async () => {
  // Nothing is taken from them: those that run stay where they are.
  await withService(0, async (service) => {
    const { history, ends, room } = service;
    for (let queryId = 1; queryId <= QUERIES; queryId++) history.start(queryId, request, HISTORY_CREDIT_BYTES);
    assert.equal(ends.size, 0, 'none is refused');
    assert.equal(service.prepared, 0, 'none is started in the turn in which it was asked');
    for (let before = 0; before < HISTORY_QUERIES_PER_AGENT_MAX; before = service.prepared) {
      await turn();
      assert.ok(service.prepared - before <= 1, `${service.prepared - before} in one turn`);
    }
    for (let turns = 0; turns < 100; turns++) await turn();
    assert.equal(service.prepared, HISTORY_QUERIES_PER_AGENT_MAX, 'the others wait for their end');
    for (let queryId = 2; queryId <= QUERIES; queryId++) history.cancel(queryId);
    await turn();
    assert.equal(history.size, 1);
    assert.equal(service.prepared, HISTORY_QUERIES_PER_AGENT_MAX);
    room.add(1e9);
    await untilIdle(service);
    for (let queryId = 1; queryId <= QUERIES; queryId++) {
      assert.deepEqual(ends.get(queryId), [queryId === 1 ? 'whole' : 'history query cancelled']);
    }
  });
});

test('the queue is bounded in queries and in bytes, and an id is refused while it is in use', async () => {
  await withService(0, async ({ history, ends }) => {
    const all = HISTORY_QUERIES_PER_AGENT_MAX + HISTORY_QUERIES_QUEUED_MAX;
    for (let queryId = 1; queryId <= all; queryId++) history.start(queryId, request, HISTORY_CREDIT_BYTES);
    assert.equal(ends.size, 0);
    history.start(all + 1, request, HISTORY_CREDIT_BYTES);
    assert.match(ends.get(all + 1)![0]!, /at most 1024 history queries and \d+ bytes of them wait/);
    assert.throws(() => history.start(all, request, 1), /history_query.query_id 1040 has not ended yet/);
  });
  await withService(0, async ({ history, ends }) => {
    const filter = 'x'.repeat(HISTORY_QUEUE_BYTES_MAX / 16);
    const large = { ...request, predicates: [{ ...predicate.spec, filter }] };
    for (let queryId = 1; queryId <= 100; queryId++) history.start(queryId, large, HISTORY_CREDIT_BYTES);
    assert.ok(history.size < HISTORY_QUERIES_PER_AGENT_MAX + 16, `${history.size} large ones are held`);
    assert.equal(ends.size, 100 - history.size);
  });
});

test("after a session's end nothing more is sent for its queries", async () => {
  await withService(0, async (service) => {
    const { history, ends } = service;
    for (let queryId = 1; queryId <= QUERIES; queryId++) history.start(queryId, request, HISTORY_CREDIT_BYTES);
    for (let turns = 0; turns < 20; turns++) await turn();
    history.close();
    await untilIdle(service);
    assert.equal(ends.size, 0);
  });
});

test('queries for the last events that hold much wait for each other, and each tells exactly its last events', async () => {
  const turns = new HistoryTurns(1);
  const enter = turns.enter.bind(turns);
  let [holders, holdersMax, refused] = [0, 0, 0];
  turns.enter = (holder) => {
    const leave = enter(holder);
    if (leave === undefined) refused += 1;
    else holders += 1;
    holdersMax = Math.max(holdersMax, holders);
    return (
      leave &&
      (() => {
        holders -= 1;
        leave();
      })
    );
  };
  // More than may be held without a place.
  const last = 5_000;
  const queries = async (service: Service) => {
    for (let id = 0; id < HISTORY_QUERIES_PER_AGENT_MAX; id++) service.history.start(id, request, HISTORY_CREDIT_BYTES);
    while (service.history.size > 0) {
      for (const id of service.told.keys()) service.history.credit(id, HISTORY_CREDIT_BYTES);
      await turn();
    }
    const [first] = service.told.values();
    assert.equal(first?.length, last);
    assert.ok(first.every((time, at) => at === 0 || time > first[at - 1]!));
    for (const told of service.told.values()) assert.deepEqual([told.at(0), told.length], [first[0], last]);
    assert.equal(service.told.size, HISTORY_QUERIES_PER_AGENT_MAX);
  };
  await withService(1e9, queries, { rounds: 120, last, turns });
  assert.deepEqual([holders, holdersMax], [0, HISTORY_HOLDERS_MAX]);
  assert.ok(refused > 0);
});

test('who holds much and is not read loses the place to one that waits for it, and may ask again', async () => {
  const queries = async ({ history, ends }: Service) => {
    for (let id = 0; id < HISTORY_HOLDERS_MAX; id++) history.start(id, request, 1);
    await until('all places are held by readers that do not read', () => history.working === 0);
    assert.equal(ends.size, 0);
    history.start(9, request, HISTORY_CREDIT_BYTES);
    while (!ends.has(9)) {
      history.credit(9, HISTORY_CREDIT_BYTES);
      await turn();
    }
    assert.deepEqual(ends.get(9), ['whole']);
    assert.deepEqual([...ends.keys()].length, 2);
    assert.deepEqual(ends.get(0), ['its place was given to others, as it was not read']);
    for (let id = 1; id < HISTORY_HOLDERS_MAX; id++) history.cancel(id);
  };
  const turns = new HistoryTurns(1, undefined, 0);
  await withService(1e9, queries, { rounds: 120, last: 5_000, turns });
});

test('where memory is bounded fewer queries run at once, and those whose readers do not read hold up nobody', async () => {
  assert.deepEqual(
    [128, 64, 1024, Number.POSITIVE_INFINITY].map((mebibytes) => queriesAtOnce(mebibytes * 2 ** 20)),
    [8, HISTORY_QUERIES_AT_ONCE_MIN, HISTORY_QUERIES_PER_AGENT_MAX, HISTORY_QUERIES_PER_AGENT_MAX],
  );
  const queries = async (service: Service) => {
    const { history, ends } = service;
    // Two that nobody reads, then others.
    history.start(0, request, 1);
    history.start(1, request, 1);
    for (let id = 2; id < 8; id++) history.start(id, request, HISTORY_CREDIT_BYTES);
    assert.equal(service.prepared, 0);
    await until(
      'the others',
      () => ends.size === 6,
      () => ends.size,
    );
    assert.deepEqual([ends.has(0), ends.has(1)], [false, false]);
    assert.deepEqual([history.size, history.working], [2, 0], 'what reads nothing allows the agent nothing');
    for (const id of [0, 1]) history.credit(id, HISTORY_CREDIT_BYTES);
    await untilIdle(service);
    for (const told of service.told.values()) assert.equal(told.length, 2_000);
  };
  await withService(1e9, queries, { residentBytesMax: 64 * 2 ** 20, turns: new HistoryTurns(1) });
});
