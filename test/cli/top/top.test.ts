/** `backplane top`: rates of counters that are read now and then, tables that fit, keys, and a real broker. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, test } from 'node:test';
import { RateMeter, type Sample } from '../../../src/cli/top/rates.js';
import { afterKey, initialState, type Key, screenful, type TopState } from '../../../src/cli/top/screenful.js';
import { columnTitles } from '../../../src/cli/top/table.js';
import { Bus, Command, MAIN } from '../../harness/bus/bus.js';
import { until } from '../../harness/until.js';

after(() => Command.killAll());

interface Counted {
  readonly recorded: number;
  readonly shed?: number;
  readonly countedSeconds: number;
}

function sample(atMs: number, nodes: Record<string, Counted>, startedSeconds = 1): Sample {
  return {
    atMs,
    status: {
      version: '1',
      started: time(startedSeconds),
      nodes: 1,
      eventsIngested: String(atMs),
      eventsDelivered: '0',
      subscriptions: 4_321,
      logBytes: '0',
      logTrouble: '',
    },
    nodes: Object.entries(nodes).map(([name, { recorded, shed = 0, countedSeconds }]) => ({
      ...{
        name,
        state: 'NODE_STATE_CONNECTED',
        counted: time(countedSeconds),
        cpuRatio: 0.012,
        residentBytes: '1048576',
      },
      ...{ eventsRecorded: String(recorded), eventsMatched: '0', eventsShed: String(shed), eventsLost: '0' },
      ...{ uplinkBytes: String(atMs), budget: { liveBytesPerSecond: '2000' } },
    })),
    subscriptions: [],
  } as unknown as Sample;
}

function time(seconds: number) {
  return { seconds: String(seconds), nanos: 0 };
}

test('rates of nodes are between their own two latest counts, however often one looks', () => {
  const meter = new RateMeter();
  assert.equal(meter.take(sample(0, { a: { recorded: 100, countedSeconds: 10 } })), undefined);
  const [same] = meter.take(sample(1_000, { a: { recorded: 100, countedSeconds: 10 } }))!.nodes;
  assert.equal(same!.recorded, undefined);
  assert.equal(same!.sentBytes, 1_000);
  assert.equal(same!.budgetUsed, 0.5);
  for (const atMs of [2_000, 3_000, 4_000]) {
    const [counted] = meter.take(sample(atMs, { a: { recorded: 600, countedSeconds: 15 } }))!.nodes;
    assert.equal(counted!.recorded, 100, `at ${atMs}`);
  }
});

test('an agent that has started anew, and a broker that has, have no rate until they are known twice', () => {
  const meter = new RateMeter();
  meter.take(sample(0, { a: { recorded: 1_000, countedSeconds: 10 } }));
  const again = meter.take(sample(5_000, { a: { recorded: 7, countedSeconds: 15 } }, 4))!;
  assert.equal(again.nodes[0]!.recorded, undefined);
  assert.equal(again.broker.ingested, undefined);
  assert.equal(meter.take(sample(10_000, { a: { recorded: 57, countedSeconds: 20 } }, 4))!.nodes[0]!.recorded, 10);
});

function many(count: number) {
  const counts = (times: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, at) => [
        `node-${at}-with-a-rather-long-name.example\x1b[31m`,
        { recorded: at * 10 * times, shed: count * times, countedSeconds: 5 * times },
      ]),
    );
  const meter = new RateMeter();
  meter.take(sample(0, counts(1)));
  return meter.take(sample(5_000, counts(2)))!;
}

test('a screenful fits the terminal, the busiest first, and what is left out is said', () => {
  const rates = many(100);
  const state = initialState('nodes', undefined, '');
  for (const [width, height] of [
    [80, 24],
    [40, 10],
    [200, 50],
  ] as const) {
    const lines = screenful(state, rates, width, height);
    assert.ok(lines.length <= height, `${lines.length} lines`);
    for (const line of lines) assert.ok([...line].length <= width, line);
    assert.ok(!lines.join('').includes('\x1b'));
    assert.match(lines.find((line) => line.startsWith('node-'))!, /^node-99/);
  }
  assert.match(screenful(state, rates, 80, 24).at(-1)!, /^\d+ more below/);
  // Subscriptions are counted by the broker: they are listed only where one looks at them.
  assert.match(screenful(state, rates, 80, 24)[0]!, /subscriptions 4321 /);
});

function press(state: TopState, ...keys: (Key | string)[]): TopState | undefined {
  return keys.reduce<TopState | undefined>(
    (now, key) => now && afterKey(now, typeof key === 'string' ? { sequence: key, name: key } : key),
    state,
  );
}

test('keys sort, turn the order, filter, scroll, pause and end', () => {
  const rates = many(30);
  const start = initialState('nodes', undefined, '');
  const firstRow = (state: TopState) => screenful(state, rates, 120, 24).find((line) => line.startsWith('node-'));
  assert.match(firstRow(press(start, 'r')!)!, /^node-0/);
  assert.match(firstRow(press(start, 'down', 'down')!)!, /^node-27/);
  const filtered = press(start, '/', ...'NODE-17', { name: 'return', sequence: '\r' })!;
  assert.match(firstRow(filtered)!, /^node-17/);
  assert.equal(screenful(filtered, rates, 120, 24).filter((line) => line.startsWith('node-')).length, 1);
  assert.equal(press(start, '/', 'q')!.filter, 'q');
  const byNode = press(start, 'left', 'left')!;
  assert.equal(columnTitles('nodes')[byNode.orders.nodes.column], 'NODE');
  assert.equal(press(start, 'tab')!.view, 'subscriptions');
  assert.equal(press(start, 'space')!.paused, true);
  assert.equal(press(start, 'q'), undefined);
  assert.equal(press(start, '/', { name: 'c', ctrl: true }), undefined);
});

test('top of a real broker: one JSON line a look, and a terminal that is left as it was', async () => {
  const bus = await Bus.start({ BACKPLANE_SOURCE: 'synthetic', BACKPLANE_SYNTHETIC_RATE: '200' });
  try {
    const looks = new Command(['top', '-o', 'json', '-i', '1s'], bus.env);
    const lines = () =>
      looks.stdout
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line));
    await until(
      'a rate of recorded events',
      () => lines().some(({ nodes }) => nodes[0]?.recorded > 0),
      () => looks.stdout,
    );
    await looks.stop('SIGTERM');
    const line = ['stty cols 80 rows 24; exec', process.execPath, MAIN, 'top -i 200ms -n 2'].join(' ');
    const child = spawn('script', ['-qec', line, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', ...bus.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
    await new Promise((resolve) => child.once('close', resolve));
    assert.match(shown, /nodes 1 of 1/);
    assert.ok(shown.trimEnd().endsWith('\x1b[?25h\x1b[?1049l'), JSON.stringify(shown.slice(-40)));
  } finally {
    await bus.destroy();
  }
});
