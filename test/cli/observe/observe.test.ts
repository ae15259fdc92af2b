/** The command `observe` against a broker whose answers are scripted. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { commandName } from '../../../src/cli/command-name.js';
import { observers } from '../../../src/cli/observe/observers.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { type BusEvent, TOPICS } from '../../../src/wire/event/event.js';
import type { SubscribeResponse } from '../../../src/wire/messages.js';
import { command, MAIN, run } from '../../harness/bus/command.js';
import { busEvent } from '../../harness/bus/event-fixture.js';
import { ScriptedBroker, type ScriptedBrokerOptions } from '../../harness/scripted-broker.js';
import { until } from '../../harness/until.js';

const EVENTS = Array.from({ length: 10 }, (_, index) =>
  busEvent('process.exec', {
    process: {
      pid: index + 1,
      parentPid: 1,
      comm: 'true',
      executable: { path: '/bin/true', name: 'true' },
      commandArgs: ['true', '\x1b[2J'],
    },
  }),
);

async function start(t: TestContext, options: Partial<ScriptedBrokerOptions> = {}): Promise<ScriptedBroker> {
  const broker = await ScriptedBroker.start({ events: EVENTS, coverage: { nodes: [] }, ...options });
  t.after(() => broker.stop());
  return broker;
}

/** The flags of the command that goes on, which begins as this program does; the default view has other pids each time. */
function resumed(notice = ''): string {
  const start = `-- resume with ${commandName()} observe `;
  assert.ok(notice.startsWith(start), notice);
  return notice
    .slice(start.length)
    .trimEnd()
    .replace(/'\(event\.type in [^']*'/, 'FILTER');
}

const GAP = { gap: { node: 'node-a', topic: 'process', events: '3', reason: 'evicted', message: 'a\x1b[31mb' } };

test('json: events go to stdout, one object a line, and everything else to stderr', async (t) => {
  const broker = await start(t, {
    notices: [GAP],
    nodesMissing: ['node-b'],
    coverage: { nodes: [{ node: 'node-a', events: '10', evicted: true }] },
  });
  const { code, out, err } = await run(['observe', '--broker', broker.address, '--since', '5m', '-o', 'json']);
  const events = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { node: string; topic: string; process: { pid: number } });
  assert.deepEqual(
    events.map((event) => event.process.pid),
    EVENTS.map((event) => event.process!.pid),
  );
  assert.deepEqual([events[0]?.node, events[0]?.topic], ['node-a', 'process']);
  const notices = err.trimEnd().split('\n');
  assert.equal(notices[0], '-- no answer from node-b: what it recorded is missing here');
  assert.equal(notices[1], '-- gap node-a process: 3 events, evicted, a\\x1b[31mb');
  assert.match(
    notices[2] ?? '',
    /^-- coverage node-a: unknown to unknown, 10 events, older ones are no longer recorded$/,
  );
  assert.equal(notices[3], '-- incomplete: node-b (did not answer), node-a (older events are no longer recorded)');
  assert.equal(resumed(notices[4]), `--output json --broker ${broker.address} --filter FILTER --cursor 9`);
  assert.equal(notices.length, 5);
  assert.equal(code, 4);
});

test('jsonpb: every item goes to stdout, and stderr says only that something is missing', async (t) => {
  const broker = await start(t, { notices: [GAP] });
  const { out, err, code } = await run(['observe', '--broker', broker.address, '--since', '5m', '-o', 'jsonpb']);
  const items = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, Record<string, unknown>>);
  assert.deepEqual(
    items.map((item) => Object.keys(item)[0]),
    ['accepted', 'gap', 'events', 'events', 'events', 'events', 'coverage'],
  );
  assert.equal(items[0]?.accepted?.since, '1970-01-01T00:00:01.000000000Z');
  assert.equal(items[1]?.gap?.events, '3');
  const { events, ...rest } = items[2]?.events ?? {};
  assert.deepEqual(rest, { node: 'node-a', topic: 'process', history: true, cursor: '2', refill: false });
  assert.deepEqual(
    (events as { type: string }[]).map(({ type }) => type),
    ['process.exec', 'process.exec', 'process.exec'],
  );
  assert.equal(err, '-- incomplete: node-a (gap, evicted)\n');
  assert.equal(code, 4);
});

test('compact into a pipe has no colours, no escape sequences from events, and no status line', async (t) => {
  const broker = await start(t);
  const { out, err } = await run(['observe', '--broker', broker.address, '--since', '5m']);
  assert.equal(out.split('\n').length, 11);
  assert.doesNotMatch(out, /\x1b/);
  assert.match(out, /exec {11}\? \/bin\/true true \$'\\x1b\[2J' pid 1 ← 1\n/);
  assert.equal(resumed(err), `--broker ${broker.address} --filter FILTER --cursor 9`);
});

test('flags become fields of the request, and a missing window is left for the broker to decide', async (t) => {
  const broker = await start(t);
  const to = ['--broker', broker.address];
  await run(['observe', ...to]);
  await run([
    'observe',
    ...to,
    '--topic',
    'process,network',
    '-t',
    'host',
    '--node',
    'web-*',
    '--limit',
    '2',
    '--until',
    '1m',
    '--include-self',
    '--field-mask',
    'process.commandArgs,container',
  ]);
  await run(['observe', ...to, '--cursor', '3', '--filter', 'process.pid > 1', '--first', '4']);
  const [plain, window, cursor] = broker.requests;
  assert.deepEqual([plain?.last, plain?.follow, plain?.since, plain?.limit], [0, false, '', '0']);
  assert.deepEqual([window?.topics, window?.nodes], [['process', 'network', 'host'], ['web-*']]);
  assert.deepEqual([window?.last, window?.limit, window?.until, window?.includeSelf], [0, '2', '1m', true]);
  assert.deepEqual([plain?.fields, window?.fields], [[], ['process.commandArgs', 'container']]);
  assert.deepEqual([cursor?.cursor, cursor?.filter, cursor?.limit, cursor?.last], ['3', 'process.pid > 1', '4', 0]);
});

test("the default view is a filter that leaves out the observer's own processes, and any flag replaces it", async (t) => {
  const broker = await start(t);
  const observe = command(['observe', '--broker', broker.address]);
  const { pid = 0 } = observe.child;
  await observe.done;
  for (const flags of [['--all'], ['--topic', 'process'], ['--cursor', '3'], ['--filter', 'process.pid > 1']])
    await run(['observe', '--broker', broker.address, ...flags]);
  await run(['observe', '--broker', broker.address, '--node', 'node-a', '--since', '5m', '-o', 'json']);
  const filters = broker.requests.map(({ filter }) => filter);
  assert.deepEqual(filters.slice(1, 5), ['', '', '', 'process.pid > 1']);
  const { createdNs } = observers()[0]!;
  for (const filter of [filters[0]!, filters[5]!]) {
    const { matches } = compilePredicate({ topics: [], filter, includeSelf: false, refuseImpossible: true });
    const shown = (type: string, rest: Partial<BusEvent> = {}) => matches({ ...busEvent(type), ...rest });
    const types = Object.values(TOPICS).flatMap((topic) => topic.types);
    const listed = ['process.exec', 'network.tcp.connect', 'network.tcp.accept'];
    listed.push('network.udp.connect', 'network.udp.send', 'network.dns.query');
    const hidden = [...TOPICS['process']!.types, ...TOPICS['network']!.types].filter((type) => !listed.includes(type));
    for (const type of types) assert.equal(shown(type), !hidden.includes(type), type);
    // The tests and what started them: their start is left out, what they do is not.
    const parent = { process: { pid: process.pid, creationTimeNs: createdNs } };
    assert.equal(shown('process.exec', parent), false);
    assert.equal(shown('network.tcp.connect', parent), true);
    // Another process that has the pid at another time, or on a node where the pid is another's.
    assert.equal(
      shown('process.exec', { process: { ...parent.process, creationTimeNs: createdNs + 1_000_000_000n } }),
      true,
    );
    assert.equal(shown('process.exec', { process: { ...parent.process, pid: process.pid + 1 } }), true);
    assert.equal(shown('process.exec', { process: { pid: process.pid } }), true);
  }
  assert.match(filters[0]!, new RegExp(`&& !\\(process\\.pid == ${pid} && process\\.creation_time > timestamp`));
});

test('the printed command to continue runs in a shell and asks for the same events behind the cursor', async (t) => {
  const broker = await start(t);
  const filter = 'process.comm != "it\'s $HOME `x` \\\\ \u202e" && process.pid > 0';
  const flags = ['--broker', broker.address, '-t', 'process,network', '-n', 'node-*', '--filter', filter, '-o', 'json'];
  const { err } = await run([
    'observe',
    ...flags,
    '--until',
    '2026-11-28 04:00Z',
    '--first',
    '2',
    '--cursors',
    '--since',
    '2026-11-28',
  ]);
  const line = err.trimEnd().split('\n').at(-1)!;
  assert.match(line, /^-- resume with .* --until 2026-11-28T04:00:00Z --cursor 1$/);
  const shell = spawn('bash', ['--norc', '-c', line.replace('-- resume with ', '')], { stdio: 'ignore' });
  const [code] = await once(shell, 'close');
  assert.equal(code, 0);
  const [first, second] = broker.requests;
  assert.deepEqual({ ...second, client: '' }, { ...first, client: '', cursor: '1', since: '' });
  assert.equal(first?.filter, filter);
});

test('json with --cursors: a reader that keeps the last cursor it saw loses nothing', async (t) => {
  const broker = await start(t);
  const { out } = await run(['observe', '--broker', broker.address, '--since', '5m', '-o', 'json', '--cursors']);
  const cursors = out
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { cursor?: string }).cursor ?? '');
  assert.deepEqual(cursors, ['', '', '2', '', '', '5', '', '', '8', '9']);
  const { code, err } = await run(['observe', '--broker', broker.address, '--cursors']);
  assert.match(err, /--cursors needs -o json/);
  assert.equal(code, 2);
});

test('a limit ends with a cursor that continues behind the last event', async (t) => {
  const broker = await start(t);
  const { err, code } = await run(['observe', '--broker', broker.address, '--limit', '4']);
  assert.equal(resumed(err), `--limit 4 --broker ${broker.address} --filter FILTER --cursor 3`);
  assert.equal(code, 0);
});

test('an incomplete replay exits with 4 and names the node and the reason', async (t) => {
  const node = { node: 'n', events: '1' };
  const cases: [NonNullable<SubscribeResponse['coverage']>['nodes'], string | undefined][] = [
    [[{ ...node, absent: true, message: 'the node is not connected' }], 'n (absent: the node is not connected)'],
    [[{ ...node, brokenOff: true, message: 'it went' }, { node: 'm' }], 'n (broken off: it went)'],
    [[{ ...node, damagedBytes: '5' }], 'n (5 bytes of its recording are damaged)'],
    [[{ ...node, evicted: true }], 'n (older events are no longer recorded)'],
    [Array.from({ length: 10 }, (_, i) => ({ node: `n${i}`, absent: true })), '2 more'],
    // What the kernel lost might not have matched: it is stated, and no failure.
    [[{ ...node, lost: '5', lostUnknown: true }], undefined],
  ];
  for (const [nodes, reason] of cases) {
    const broker = await start(t, { coverage: { nodes: nodes ?? [] } });
    const { err, code } = await run(['observe', '--broker', broker.address, '--since', '1m', '-o', 'jsonpb']);
    if (reason === undefined) assert.deepEqual([err, code], ['', 0]);
    else {
      assert.match(err, /^-- incomplete: .*\n$/);
      assert.ok(err.endsWith(`${reason}\n`), err);
      assert.equal(code, 4);
    }
  }
});

test('a replay without a start is complete even if older events were evicted', async (t) => {
  const broker = await start(t, { coverage: { nodes: [{ node: 'n', evicted: true }] } });
  assert.equal((await run(['observe', '--broker', broker.address])).code, 0);
});

test("a refused filter exits with 2 and the broker's sentence", async (t) => {
  const broker = await start(t);
  const { code, err } = await run(['observe', '--broker', broker.address, '--filter', 'bad']);
  assert.equal(err, 'backplane: filter: column 1: unknown field "bad"\n');
  assert.equal(code, 2);
});

test('an interrupted observe exits with 130 and prints the cursor to continue from', async (t) => {
  const broker = await start(t);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const observe = command(['observe', '--broker', broker.address, '--follow']);
    await observe.printed(/pid 10 /);
    observe.child.kill(signal);
    const { code, err } = await observe.done;
    const [following, ...rest] = err.split('\n');
    assert.equal(following, '-- following 1 node, node-a; end with Ctrl-C');
    assert.equal(resumed(rest.join('\n')), `--follow --broker ${broker.address} --filter FILTER --cursor 9`);
    assert.equal(code, 130);
  }
});

test('a broken connection is reported and resumed: no event is missing, none comes twice', async (t) => {
  const broker = await start(t, { cuts: [{ after: 5, code: status.UNAVAILABLE, details: 'going away' }, undefined] });
  const { out, err, code } = await run([
    'observe',
    '--broker',
    broker.address,
    '--since',
    '1m',
    '-o',
    'json',
    '--field-mask',
    'process.pid',
  ]);
  const pids = out
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { process: { pid: number } }).process.pid);
  assert.deepEqual(
    pids,
    EVENTS.map((event) => event.process!.pid),
  );
  const notices = err.split('\n');
  assert.deepEqual(notices.slice(0, 2), [
    `-- lost the broker at ${broker.address}: going away; trying again`,
    `-- connected to the broker at ${broker.address}, going on where it broke off`,
  ]);
  const flags = `--output json --field-mask process.pid --broker ${broker.address}`;
  assert.equal(resumed(notices[2]), `${flags} --filter FILTER --cursor 9`);
  assert.equal(code, 0);
});

test('a reader that closes the pipe ends observe without a message', async (t) => {
  const events = Array.from({ length: 20_000 }, () => EVENTS[0]!);
  const broker = await start(t, { events, batch: 200 });
  const pipeline = `set -o pipefail; "$0" "$1" observe --broker ${broker.address} --since 1h | head -n 2`;
  const env = { PATH: process.env.PATH, TZ: 'UTC' };
  const child = spawn('bash', ['--norc', '-c', pipeline, process.execPath, MAIN], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  const [code] = await once(child, 'close');
  assert.equal(out.split('\n').length, 3);
  assert.equal(err, '');
  assert.equal(code, 0);
});

test('an observe whose reader has stopped reading ends by one signal, and its cursor passes over nothing that was not taken', async (t) => {
  const events = Array.from({ length: 20_000 }, () => EVENTS[0]!);
  const broker = await start(t, { events, batch: 200 });
  const observe = command(['observe', '--broker', broker.address, '--since', '1h', '-o', 'json']);
  const { stdout } = observe.child;
  stdout!.pause();
  await until('more than a pipe holds', () => broker.written > 10);
  observe.child.kill('SIGTERM');
  await once(observe.child, 'exit');
  stdout!.resume();
  const { code, out, err } = await observe.done;
  assert.equal(code, 130);
  const cursor = / --cursor (\d+)\n$/.exec(err)?.[1];
  const taken = out.split('\n').length - 1;
  assert.ok(taken < events.length && Number(cursor ?? -1) < taken, `${taken} lines, ${err}`);
});

test('--print-plan prints what runs where, and subscribes to nothing', async (t) => {
  const broker = await start(t);
  const { out, code } = await run(['observe', '--broker', broker.address, '--print-plan']);
  assert.equal(
    out,
    'PLACE   WHAT RUNS THERE\nfilter  process.pid == 1\ntopics  process\nnodes   node-a\nagent   matches "x"\\x1b[0m\n',
  );
  assert.equal(code, 0);
  assert.equal(broker.requests.length, 0);
});

test('nodes, topics, subscriptions and status print a table, or JSON', async (t) => {
  const broker = await start(t);
  const to = ['--broker', broker.address];
  assert.match((await run(['nodes', ...to])).out, /^NODE .*\nnode-a +degraded .*0\.4%.*\n\nnode-a: no tracefs\n$/);
  assert.match((await run(['topics', ...to])).out, /^TOPIC .*\nprocess .*programs\n$/);
  // Two pages of the broker's make one list.
  assert.match((await run(['subscriptions', ...to])).out, /^ID .*\ns1 +me .*\(every event\)\ns2 +1 .*\n$/);
  assert.match((await run(['status', ...to])).out, /^version: +1\.2\.3\n/);
  const node = JSON.parse((await run(['nodes', ...to, '-o', 'json'])).out) as Record<string, unknown>;
  assert.deepEqual([node.name, node.eventsRecorded, node.state], ['node-a', '12', 'NODE_STATE_DEGRADED']);
  const json = JSON.parse((await run(['status', ...to, '-o', 'json'])).out) as Record<string, unknown>;
  assert.deepEqual([json.version, json.eventsIngested], ['1.2.3', '7']);
});

test('an unknown node makes a replay incomplete, naming the nearest node, and a stream says that it waits for it', async (t) => {
  const broker = await start(t);
  const observe = (...args: string[]) => run(['observe', '--broker', broker.address, '-o', 'json', ...args]);
  const replay = await observe('--node', 'nod-a', '--node', 'node-*', '--since', '5m');
  assert.equal(replay.code, 4);
  assert.match(replay.err, /^-- incomplete: no node is called "nod-a", did you mean "node-a"\?$/m);
  const globs = await observe('--node', 'web-*,node-a', '--since', '5m');
  assert.deepEqual([globs.code, /^-- incomplete: no node matches "web-\*"$/m.test(globs.err)], [4, true]);
  const stream = command(['observe', '--broker', broker.address, '-o', 'json', '--node', 'nod-a', '--follow']);
  await stream.printed(/"pid":10/);
  stream.child.kill('SIGINT');
  assert.match((await stream.done).err, /^-- no node is called "nod-a", did you mean "node-a"\?: waiting for it$/m);
  const known = await observe('--node', 'node-?', '--since', '5m');
  assert.deepEqual([known.code, /no node/.test(known.err)], [0, false]);
});

test('--help names every topic and type, and its examples are valid commands', async (t) => {
  const broker = await start(t);
  const { out, code } = await run(['observe', '--help']);
  assert.equal(code, 0);
  for (const [topic, { types }] of Object.entries(TOPICS)) {
    const line = new RegExp(`^  ${topic} +([^]*?)\\n(?:\\S|\\n|  [a-z]+ )`, 'm').exec(out)?.[1]?.replace(/\s+/g, ' ');
    assert.equal(line, types.map((type) => type.slice(topic.length + 1)).join(', '));
  }
  assert.ok(out.split('\n').every((line) => line.length <= 120));
  const examples = [...out.matchAll(/^ {2}(\S*backplane observe.*)$/gm)].map(([, example]) => example!);
  assert.ok(examples.length >= 6);
  for (const example of examples) {
    const shell = spawn('bash', ['--norc', '-c', `${example} --print-plan --broker ${broker.address}`], {
      stdio: 'ignore',
    });
    assert.deepEqual(await once(shell, 'close'), [0, null], example);
    const filter = /--filter '([^']*)'/.exec(example)?.[1] ?? '';
    compilePredicate({ topics: [], filter, includeSelf: false, refuseImpossible: true });
  }
});
