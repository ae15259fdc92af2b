/** Publishing with the real commands: by hand, in lines, and through a broker that is killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Command, type EventLine, MAIN, Observer, testerEnvironment } from '../harness/bus/bus.js';
import { bearer, tokenFile } from '../harness/bus/token.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { ownAddress } from '../harness/own-address.js';
import { runs } from '../harness/runs.js';
import { until } from '../harness/until.js';

interface AppLine extends EventLine {
  readonly app: { readonly id: string; readonly body: unknown };
}

const brokerDir = scratchDirectory('publish');
let grpc = '';
let http = '';
let broker: Command;

async function startBroker(): Promise<void> {
  broker = new Command(['broker'], {
    BACKPLANE_DATA_DIR: brokerDir,
    BACKPLANE_GRPC_LISTEN: grpc,
    BACKPLANE_HTTP_LISTEN: http,
    BACKPLANE_LOG_LEVEL: 'warn',
    BACKPLANE_PUBLISH_EVENTS: '1000000',
  });
  await broker.says(/listening/);
}

before(async () => {
  grpc = await ownAddress();
  http = await ownAddress();
  await startBroker();
});
after(() => Command.killAll());

/** Runs `backplane publish`, with these lines on its standard input. */
async function publish(args: readonly string[], input = ''): Promise<{ code: number; err: string }> {
  const env = {
    ...testerEnvironment(),
    ...{ BACKPLANE_BROKERS: grpc, BACKPLANE_TOKEN_FILE: tokenFile(brokerDir), NO_COLOR: '1' },
  };
  const child = spawn(process.execPath, [MAIN, 'publish', ...args], { env, stdio: ['pipe', 'ignore', 'pipe'] });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  child.stdin.end(input);
  const [code] = await once(child, 'close');
  return { code: code as number, err };
}

test('what is published by hand and in lines is observed live and later, and its text is inert', async () => {
  const lines = new Command(['observe', '--topic', 'app.*', '--follow', '--utc', '--limit', '5'], {
    BACKPLANE_BROKERS: grpc,
    BACKPLANE_TOKEN_FILE: tokenFile(brokerDir),
  });
  await until('the subscription', async () => {
    const answer = await fetch(`http://${http}/v1/subscriptions`, { headers: bearer(brokerDir) });
    return ((await answer.json()) as { subscriptions: unknown[] }).subscriptions.length > 0;
  });
  const one = ['app.deploy', '--id', 'build-1', '--body', '{"version": "1.4.2"}', '--type', 'com.example.deployed'];
  assert.deepEqual(await publish([...one, '--subject', 'web']), { code: 0, err: '-- 1 event published\n' });
  assert.deepEqual(await publish(one), { code: 0, err: '-- 0 events published, 1 known already\n' });
  const input = [1, 2, 3].map((id) => JSON.stringify({ id: `line-${id}`, body: { id } })).join('\n');
  assert.deepEqual(await publish(['app.lines'], input), { code: 0, err: '-- 3 events published\n' });
  const nasty = { id: 'nasty', body: ['\u001b[31m', '\r\n-- forged', '\u202egpj', '<script>'] };
  assert.equal((await publish(['app.lines'], JSON.stringify(nasty))).code, 0);
  assert.equal(await lines.exited, 0);
  const [first, second, , , last] = lines.stdout.trimEnd().split('\n');
  assert.match(
    first!,
    /^\S+ \d\d:\d\d:\d\d\.\d{6}Z @local {2}app\.deploy +com\.example\.deployed web {"version":"1\.4\.2"}$/,
  );
  assert.match(second!, /@local {2}app\.lines +{"id":1}$/);
  assert.match(last!, /app\.lines +\["\\u001b\[31m","\\r\\n-- forged","\\u202egpj","<script>"\]$/);
  const past = new Observer({ grpc, brokerDir }, [
    '--topic',
    'app.lines',
    '--since',
    '1h',
    '--filter',
    'app.body.id >= 2',
  ]);
  assert.equal(await past.exited, 0);
  assert.deepEqual(
    (past.events as AppLine[]).map(({ node, topic, app }) => [node, topic, app]),
    [2, 3].map((id) => ['@local', 'app.lines', { id: `line-${id}`, source: 'local', body: { id } }]),
  );
  assert.doesNotMatch(past.stderr, /no node/);
});

test('what is wrong is one line that names it, and 2', async () => {
  const cases: readonly (readonly [args: readonly string[], input: string, err: RegExp])[] = [
    [['process', '--body', '1'], '', /^backplane: topic: must be app\.NAME, .*did you mean "app\.process"\?$/m],
    [['app.a', '--body', '{'], '', /^backplane: --body must be JSON/m],
    [['app.a', '--id', 'x'], '', /^backplane: --id needs --body/m],
    [
      ['app.a'],
      '{"id": "1"}\n{"id": "2", "bdy": 1}',
      /^backplane: line 2: bdy"?: is no field of PublishedEvent, did you mean "body"\?$/m,
    ],
    [['app.a'], '[1]', /^backplane: line 1: must be a JSON object/m],
    [['app.a', '--body', '1', '--time', 'soon'], '', /^backplane: --time must be like 2026-01-31T12:00:00Z/m],
  ];
  for (const [args, input, err] of cases) {
    const outcome = await publish(args, input);
    assert.deepEqual([outcome.code, err.test(outcome.err)], [2, true], outcome.err);
  }
});

test('a broker that is killed between write and acknowledgement loses nothing acknowledged, and nothing comes twice', async () => {
  const acknowledged = new Set<string>();
  let number = 0;
  const post = async (ids: readonly string[]): Promise<boolean> => {
    try {
      const response = await fetch(`http://${http}/v1/app/app.killed`, {
        method: 'POST',
        headers: { ...bearer(brokerDir), 'content-type': 'application/json' },
        body: JSON.stringify(ids.map((id) => ({ id, body: { text: 'x'.repeat(2_000) } }))),
      });
      assert.equal(response.status, 200, await response.text());
    } catch (cause) {
      if (cause instanceof assert.AssertionError) throw cause;
      return false;
    }
    for (const id of ids) acknowledged.add(id);
    return true;
  };
  let lost: string[][] = [];
  for (let round = 0; round < runs(3); round++) {
    const enough = acknowledged.size + 40 + round * 15;
    const publishers = Array.from({ length: 8 }, async () => {
      for (;;) {
        // What was not acknowledged comes again, with what was: as from a client that lost its connection.
        const batch = lost.pop() ?? Array.from({ length: 5 }, () => String(number++));
        if (await post(batch)) continue;
        return batch;
      }
    });
    await until('acknowledgements', () => acknowledged.size >= enough);
    await broker.stop('SIGKILL');
    lost = [...lost, ...(await Promise.all(publishers))];
    await startBroker();
  }
  for (const batch of lost) assert.ok(await post(batch));
  const past = new Observer({ grpc, brokerDir }, ['--topic', 'app.killed', '--since', '1h']);
  assert.equal(await past.exited, 0);
  const ids = (past.events as AppLine[]).map(({ app }) => app.id);
  assert.equal(new Set(ids).size, ids.length, 'nothing twice');
  assert.deepEqual(new Set(ids), acknowledged);
});
