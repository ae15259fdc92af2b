/** The command `agent`: how it starts, ends and is started again. */
import assert from 'node:assert/strict';
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { type AgentMessage, AgentProcess } from '../../src/cli/process/agent-process.js';
import { AGENT_WAITS } from '../../src/cli/process/agent-spawn.js';
import { MAIN, run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { until } from '../harness/until.js';

/** Made-up events, and a broker that is not there: the agent records all the same. */
function environment(): Record<string, string> {
  const dir = scratchDirectory('agent');
  return {
    BACKPLANE_DATA_DIR: dir,
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: '10',
    BACKPLANE_BROKERS: '127.0.0.1:1',
    BACKPLANE_LOG_LEVEL: 'silent',
    BACKPLANE_RECORDER_BYTES_MAX: '128MiB',
  };
}

function start(t: TestContext) {
  const env = { PATH: process.env.PATH ?? '', ...environment() };
  const child = fork(MAIN, ['agent'], { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

test('an agent reports to its parent what it can see, and ends in order on SIGTERM', async (t) => {
  const child = start(t);
  const [message] = (await once(child, 'message')) as [AgentMessage];
  assert.equal(message.kind, 'started');
  if (message.kind === 'started') {
    assert.equal(message.source, 'synthetic');
    assert.match(message.degraded ?? '', /synthetic/);
    assert.ok(message.events.includes('sched/sched_process_exec'));
  }
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

test('an agent whose terminal closes ends in order', async (t) => {
  const child = start(t);
  await once(child, 'message');
  child.kill('SIGHUP');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

test('an agent whose parent is gone ends by itself', async (t) => {
  const child = start(t);
  await once(child, 'message');
  child.disconnect();
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

test('a second agent on the same recorder is refused in one line', async (t) => {
  const env = environment();
  const child = fork(MAIN, ['agent'], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'message');
  const { code, err } = await run(['agent'], env);
  assert.match(err, /^backplane: .*recorder.*\n$/);
  assert.equal(err.split('\n').length, 2);
  assert.notEqual(code, 0);
});

test('when one of several nodes cannot record, the agent starts none and names that node', async (t) => {
  const single = { ...environment(), BACKPLANE_NODE_NAME: 'many' };
  const env: Record<string, string> = { ...single, BACKPLANE_SYNTHETIC_NODES: '3' };
  const taken = join(env.BACKPLANE_DATA_DIR ?? '', 'many-0002');
  const child = fork(MAIN, ['agent'], {
    env: { PATH: process.env.PATH ?? '', ...single, BACKPLANE_DATA_DIR: taken },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'message');
  const { code, err } = await run(['agent'], env);
  assert.match(err, /^backplane: .*many-0002.*\n$/);
  assert.notEqual(code, 0);
  child.kill('SIGTERM');
  await once(child, 'exit');
  // The one that had started was stopped in order: its recording says so.
  const recorder = join(env.BACKPLANE_DATA_DIR ?? '', 'many-0001', 'recorder');
  const files = readdirSync(recorder).filter((name) => !name.startsWith('lock'));
  const recorded = files.map((name) => readFileSync(join(recorder, name), 'latin1'));
  assert.ok(recorded.some((text) => text.includes('the agent was stopped')));
  const several = fork(MAIN, ['agent'], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  t.after(() => several.kill('SIGKILL'));
  const [message] = (await once(several, 'message')) as [AgentMessage];
  assert.equal(message.kind, 'started');
  several.kill('SIGTERM');
  assert.deepEqual(await once(several, 'exit'), [0, null]);
});

test('up starts a killed agent again, and leaves a stopped one stopped', async (t) => {
  const started: AgentMessage[] = [];
  let heard = () => {};
  const agent = new AgentProcess(pino({ level: 'silent' }));
  agent.begin({
    environment: environment(),
    onEnd: () => undefined,
    onMessage: (message) => {
      started.push(message);
      heard();
    },
  });
  t.after(() => agent.kill());
  const next = () => new Promise<void>((resolve) => (heard = resolve));
  await next();
  const first = agent.pid ?? assert.fail('no pid');
  const again = next();
  process.kill(first, 'SIGKILL');
  await again;
  const second = agent.pid ?? assert.fail('no pid');
  assert.notEqual(second, first);
  assert.deepEqual(
    started.map(({ kind }) => kind),
    ['started', 'started'],
  );
  await Promise.all([agent.stop(), agent.stop()]);
  assert.throws(() => process.kill(second, 0), { code: 'ESRCH' });
  assert.equal(agent.pid, undefined);
});

test('an agent that was killed before it began is started when it is to begin', async (t) => {
  const agent = new AgentProcess(pino({ level: 'silent' }));
  t.after(() => agent.kill());
  const waiting = agent.pid ?? assert.fail('no pid');
  process.kill(waiting, 'SIGKILL');
  await until('its end', () => agent.pid === undefined);
  const kinds: string[] = [];
  agent.begin({ environment: environment(), onEnd: () => undefined, onMessage: ({ kind }) => kinds.push(kind) });
  await until('that it started', () => kinds.includes('started'));
  await agent.stop();
});

test('an agent whose parent ends before it began ends, and has recorded nothing', async () => {
  const agent = spawn(process.execPath, [MAIN, 'agent'], {
    env: { PATH: process.env.PATH ?? '', ...environment(), [AGENT_WAITS]: 'true' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  agent.disconnect();
  assert.deepEqual(await once(agent, 'exit'), [0, null]);
});
