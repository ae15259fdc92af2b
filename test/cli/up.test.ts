/** The command `up`: one process that runs a broker and its agent. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { command, run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { until } from '../harness/until.js';

/** Ports of the system's choice; made-up events, so that it runs wherever the tests do. */
function environment(): Record<string, string> {
  const dir = scratchDirectory('up');
  return {
    BACKPLANE_DATA_DIR: dir,
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: '200',
    BACKPLANE_GRPC_LISTEN: '127.0.0.1:0',
    BACKPLANE_HTTP_LISTEN: '127.0.0.1:0',
    BACKPLANE_NODE_NAME: 'node-up',
    BACKPLANE_LOG_LEVEL: 'silent',
  };
}

/** An event of the mix `numbered`. */
interface Numbered {
  readonly node: string;
  readonly process: { readonly commandArgs: readonly string[]; readonly executable: { readonly path: string } };
}

async function start(t: TestContext, env: Record<string, string>) {
  const up = command(['up'], env);
  t.after(() => up.child.kill('SIGKILL'));
  await up.printed(/^Next, /m);
  const broker = /listens on (\S+) \(gRPC\)/.exec(up.out)?.[1] ?? assert.fail(up.out);
  return { up, broker };
}

test('up prints its addresses, what the node sees and a command to type, and that command works', async (t) => {
  const { up, broker } = await start(t, environment());
  assert.match(up.out, /^Backplane listens on 127\.0\.0\.1:\d+ \(gRPC\) and http:\/\/127\.0\.0\.1:\d+\n/);
  assert.match(up.out, /^Node node-up records \d+ kernel events from synthetic\n/m);
  assert.match(up.out, /^It sees less than it should: .*synthetic/m);
  const next = /^Next, in another terminal: (.*)$/m.exec(up.out)?.[1] ?? assert.fail(up.out);
  assert.ok(next.endsWith(`/backplane observe --follow --broker ${broker}`), next);
  // As typed into a shell that stands where `up` was started.
  const typed = await promisify(execFile)('sh', ['-c', `${next} --limit 5 -o json`], { encoding: 'utf8' });
  const events = typed.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { node: string });
  assert.deepEqual(
    events.map(({ node }) => node),
    new Array(5).fill('node-up'),
  );
  const nodes = await run(['nodes', '--broker', broker, '-o', 'json']);
  assert.equal((JSON.parse(nodes.out) as { name: string }).name, 'node-up');
  up.child.kill('SIGTERM');
  const { code, err } = await up.done;
  assert.equal(err, '');
  assert.equal(code, 0);
});

test('up with N synthetic nodes connects N nodes, each with a recorder of its own', async (t) => {
  const env: Record<string, string> = {
    ...environment(),
    BACKPLANE_SYNTHETIC_NODES: '3',
    BACKPLANE_SYNTHETIC_MIX: 'numbered=1',
  };
  const { up, broker } = await start(t, env);
  assert.match(up.out, /^Nodes node-up-0001 to node-up-0003 record \d+ kernel events from synthetic\n/m);
  assert.match(up.out, /^They see less than they should: .*synthetic/m);
  assert.equal(up.out.match(/^Nodes? /gm)?.length, 1);
  const names = ['node-up-0001', 'node-up-0002', 'node-up-0003'];
  const firsts = names.map((name) =>
    run([
      'observe',
      '--node',
      name,
      '--topic',
      'process',
      '--since',
      '5m',
      '--limit',
      '20',
      '-o',
      'json',
      '--broker',
      broker,
    ]),
  );
  const programs = (await Promise.all(firsts)).map(({ out, err }, index) => {
    assert.match(err, /^-- the window begins .*\n-- resume with \S+ observe .*--cursor \S+\n$/);
    const events = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Numbered);
    events.forEach(({ node, process }, at) => {
      assert.equal(node, names[index]);
      assert.equal(process.commandArgs.at(-1), `--sequence=${at}`);
    });
    return events.map(({ process }) => process.executable.path).join();
  });
  assert.equal(new Set(programs).size, 3, 'each has a seed of its own');
  const nodes = await run(['nodes', '--broker', broker, '-o', 'json']);
  const listed = nodes.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; state: string });
  assert.deepEqual(listed.map(({ name }) => name).sort(), names);
  up.child.kill('SIGTERM');
  const { code, err } = await up.done;
  assert.equal(err, '');
  assert.equal(code, 0);
  for (const name of names) assert.ok(existsSync(join(env.BACKPLANE_DATA_DIR ?? '', name, 'recorder')), name);
});

test('more than one node is refused in one line, by up and by agent, unless the nodes are synthetic', async () => {
  const env = { ...environment(), BACKPLANE_SYNTHETIC_NODES: '3' };
  for (const [verb, changed, expected] of [
    [
      'up',
      { BACKPLANE_SOURCE: 'auto' },
      'synthetic.nodes must be 1 unless source is synthetic, got 3 with source auto',
    ],
    [
      'agent',
      { BACKPLANE_SOURCE: 'procfs' },
      'synthetic.nodes must be 1 unless source is synthetic, got 3 with source procfs',
    ],
    [
      'up',
      { BACKPLANE_SYNTHETIC_LANES: '342' },
      'synthetic.lanes must be at most 341 where synthetic.nodes is 3, got 342',
    ],
    [
      'agent',
      { BACKPLANE_NODE_NAME: 'x'.repeat(249) },
      'node.name must be at most 248 characters where synthetic.nodes is above 1, got 249',
    ],
  ] as const) {
    const { code, out, err } = await run([verb], { ...env, ...changed });
    assert.equal(err, `backplane: ${expected}\n`);
    assert.equal(out, '');
    assert.equal(code, 2);
  }
});

test('a second up on the same directory is refused in one line, and starts nothing', async (t) => {
  const env = environment();
  await start(t, env);
  const { code, out, err } = await run(['up'], env);
  assert.match(err, /^backplane: .*\n$/);
  assert.ok(err.includes(env.BACKPLANE_DATA_DIR ?? ''), err);
  assert.equal(out, '');
  assert.equal(code, 1);
});

test('a port that is taken is refused in one line that names the setting', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => void taken.listen(0, '127.0.0.1', resolve));
  t.after(() => taken.close());
  const { port } = taken.address() as { port: number };
  for (const [key, flag] of [
    ['BACKPLANE_GRPC_LISTEN', /grpc[.-]listen/],
    ['BACKPLANE_HTTP_LISTEN', /http[.-]listen/],
  ] as const) {
    const { code, out, err } = await run(['up'], { ...environment(), [key]: `127.0.0.1:${port}` });
    assert.match(err, /^backplane: .*\n$/);
    assert.match(err, flag);
    assert.ok(err.includes(String(port)), err);
    assert.equal(out, '');
    assert.equal(code, 1);
  }
});

test('listening beyond loopback is refused unless a setting allows it', async (t) => {
  const env = { ...environment(), BACKPLANE_GRPC_LISTEN: '0.0.0.0:0' };
  const { code, err } = await run(['broker'], env);
  assert.match(err, /^backplane: .*nothing is encrypted: give --tls-cert and --tls-key .*--insecure.*\n$/);
  assert.notEqual(code, 0);
  const broker = command(['broker', '--insecure'], env);
  t.after(() => broker.child.kill('SIGKILL'));
  await broker.printed(/^Nothing is encrypted \(--insecure\): .*\nlistening on 0\.0\.0\.0:\d+/);
  broker.child.kill('SIGTERM');
  assert.equal((await broker.done).code, 0);
});

/** Direct children, by the kernel's own list. */
function children(pid: number | undefined): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

async function gone(pid: number): Promise<void> {
  await until('the end of a process', () => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === '';
    } catch {
      return true;
    }
  });
}

test('when up is killed its agent ends too, and the next up continues in the same directory', async (t) => {
  const env = environment();
  const { up } = await start(t, env);
  const [agent] = children(up.child.pid);
  assert.ok(agent !== undefined);
  up.child.kill('SIGKILL');
  await up.done;
  await gone(agent);
  const { broker } = await start(t, env);
  assert.equal((await run(['status', '--broker', broker])).code, 0);
});

test('when the agent is killed, up starts another, which connects', async (t) => {
  const { up, broker } = await start(t, environment());
  const [agent] = children(up.child.pid);
  assert.ok(agent !== undefined);
  process.kill(agent, 'SIGKILL');
  await up.printed(/^Node node-up[\s\S]*^Node node-up/m);
  assert.notDeepEqual(children(up.child.pid), [agent]);
  const { code } = await run(['observe', '--follow', '--limit', '1', '--broker', broker]);
  assert.equal(code, 0);
});
