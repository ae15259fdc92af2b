/** The lists as a terminal of 80 columns and as a pipe get them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { subscriptionsText } from '../../src/cli/lists/subscriptions.js';
import { command, MAIN, type Running, run } from '../harness/bus/command.js';

const dir = mkdtempSync(join(tmpdir(), 'backplane-lists-'));
let up: Running;
let env: Record<string, string>;

before(async () => {
  up = command(['up'], {
    BACKPLANE_GRPC_LISTEN: '127.0.0.1:0',
    BACKPLANE_HTTP_LISTEN: '127.0.0.1:0',
    BACKPLANE_DATA_DIR: dir,
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: '10',
    BACKPLANE_NODE_NAME: 'node-with-a-rather-long-name.example',
    BACKPLANE_LOG_LEVEL: 'silent',
  });
  await up.printed(/^Next, /m);
  env = { BACKPLANE_BROKERS: /listens on (\S+) /.exec(up.out)?.[1] ?? '', BACKPLANE_TOKEN_FILE: join(dir, 'token') };
  for (let nodes = ''; !nodes.includes('node-with'); ) nodes = (await run(['nodes'], env)).out;
});

after(async () => {
  up.child.kill('SIGTERM');
  await up.done;
  rmSync(dir, { recursive: true, force: true });
});

/** On a terminal of 80 columns. */
async function onTerminal(args: readonly string[]): Promise<string> {
  const line = ['stty cols 80 rows 24; exec', process.execPath, MAIN, ...args].join(' ');
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    env: { PATH: process.env.PATH, TZ: 'UTC', TERM: 'xterm', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  await once(child, 'close');
  return out.replaceAll('\r', '');
}

for (const args of [['nodes'], ['topics'], ['subscriptions'], ['status'], ['doctor']]) {
  test(`${args[0]} fits 80 columns; with wide, or into a pipe, it shows every column`, async () => {
    const narrow = await onTerminal(args);
    for (const line of narrow.split('\n')) assert.ok([...line].length <= 80, `${[...line].length}: ${line}`);
    assert.match(narrow, /\n/);
    const headers = (text: string) => text.split('\n')[0]?.split(/\s+/);
    const piped = (await run([...args, '-o', 'wide'], env)).out;
    assert.deepEqual(headers((await run(args, env)).out), headers(piped));
    if (args[0] === 'nodes') {
      assert.ok(headers(piped)?.includes('HISTORY/S'));
      assert.ok(!headers(narrow)?.includes('HISTORY/S'));
      assert.match(narrow, /node-with-a-rather-long-name\.example/);
      assert.match(await onTerminal([...args, '-o', 'wide']), /HISTORY\/S/);
    }
    if (args[0] === 'topics') assert.match(narrow, /^process /m);
  });
}

test('subscriptions: what matched is what was delivered, throttled, shed and skipped, each in its column', () => {
  const subscription = {
    ...{ id: 's', client: 'c', filter: '', topics: [], started: null, phase: 'live', peer: '', identity: '' },
    ...{ eventsMatched: '30', eventsDelivered: '15', eventsShed: '7', eventsSkipped: '5', eventsThrottled: '3' },
    ...{ eventsRefilled: '0', bytesDelivered: '0', lagFrames: '0', selectors: [], selectorLedgers: [] },
  };
  const [titles, cells] = subscriptionsText({ subscriptions: [subscription], nextPageToken: '' }, 0n)
    .split('\n')
    .map((line) => line.split(/ {2,}/));
  const cell = (title: string) => cells![titles!.indexOf(title)];
  assert.deepEqual(['MATCHED', 'EVENTS', 'THROTTLED', 'SHED', 'SKIPPED'].map(cell), ['30', '15', '3', '7', '5']);
});

test('every list is JSON lines with -o json', async () => {
  const live = command(['observe', '--follow'], env);
  for (let listed = ''; listed === ''; ) listed = (await run(['subscriptions', '-o', 'json'], env)).out;
  for (const verb of ['nodes', 'topics', 'subscriptions', 'status', 'doctor']) {
    const { out, code } = await run([verb, '-o', 'json'], env);
    assert.ok(code === 0 || verb === 'doctor');
    for (const line of out.trimEnd().split('\n')) assert.equal(typeof JSON.parse(line), 'object', verb);
  }
  const { out } = await run(['subscriptions', '-o', 'json'], env);
  const subscription = JSON.parse(out.split('\n')[0] ?? '') as { peer: string; identity: string; client: string };
  assert.match(subscription.peer, /^127\.0\.0\.1:\d+$/);
  assert.equal(subscription.identity, 'local');
  const table = (await run(['subscriptions'], env)).out;
  assert.match(table, /^ID +CLIENT +FROM +AS +PHASE +SINCE +MATCHED +EVENTS +SHED +SKIPPED +REFILLED +THROTTLED /);
  live.child.kill('SIGINT');
  await live.done;
});

test('set-budget prints the budget before and after, and changes only the given limits', async () => {
  const set = ['nodes', 'set-budget', 'node-with*', '--live-events', '7', '--history-bytes', '1MiB'];
  const table = (await run(set, env)).out.trimEnd().split('\n');
  assert.equal(table.length, 2);
  assert.match(table[0] ?? '', /^NODE +LIVE\/S +EVENTS\/S +HISTORY\/S$/);
  assert.match(table[1] ?? '', /^node-with\S+ +1\.0 MiB +5000 → 7 +8\.0 MiB → 1\.0 MiB$/);
  assert.match((await run(['nodes'], env)).out, / 1\.0 MiB +7 +1\.0 MiB$/m);
  const { out } = await run(['nodes', 'set-budget', 'node-with*', '--live-events', '9', '-o', 'json'], env);
  const change = JSON.parse(out) as { node: string; before: object; after: object };
  assert.deepEqual(Object.keys(change), ['node', 'before', 'after']);
  assert.match((await run(['nodes'], env)).out, / 1\.0 MiB +9 +1\.0 MiB$/m, 'what was set before, and not now, stays');
  assert.equal((change.after as { liveEventsPerSecond: string }).liveEventsPerSecond, '9');
  const nobody = await run(['nodes', 'set-budget', 'nobody', '--live-events', '9'], env);
  assert.deepEqual([nobody.code, nobody.out], [2, '']);
  assert.match(nobody.err, /^backplane: no node matches nobody/);
});

test('--watch prints the list anew until it is interrupted, or until its reader has gone', async () => {
  const watching = command(['status', '--watch', '100ms', '-o', 'json'], env);
  await watching.printed(/(?:[^\n]*"version"[^\n]*\n+){3}/);
  watching.child.kill('SIGINT');
  assert.equal((await watching.done).code, 130);
  const gone = command(['topics', '--watch', '100ms'], env);
  await gone.printed(/process/);
  gone.child.stdout?.destroy();
  const { code, err } = await gone.done;
  assert.deepEqual([code, err], [0, '']);
  for (const wrong of ['0s', '1', 'x', '100d'])
    assert.equal((await run(['topics', '--watch', wrong], env)).code, 2, wrong);
});

test('a refusal of the broker exits with 2, a broker that cannot be reached with 1', async () => {
  const cases: [readonly string[], number, RegExp][] = [
    [['observe', '--topic', 'security', '--last', '1'], 2, /agent\.profiles|profile/],
    [['observe', '--filter', 'process.pid ==', '--last', '1'], 2, /filter/],
    [['observe', '--cursor', 'nonsense'], 2, /cursor/],
    [['nodes', 'forget', 'nobody'], 2, /nobody/],
    [['status', '--broker', '127.0.0.1:1'], 1, /no broker answers/],
    [['decode', join(dir, 'none')], 1, /must be a capture's directory/],
  ];
  for (const [args, expected, told] of cases) {
    const { code, err } = await run(args, env);
    assert.equal(code, expected, `${args.join(' ')}: ${err}`);
    assert.match(err, told);
  }
});
