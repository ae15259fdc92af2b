/** Server reflection as a stranger uses it: `buf curl` without a schema of its own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Harness, range } from '../../harness/broker/harness.js';
import { bearer } from '../../harness/bus/token.js';

const BUF = fileURLToPath(new URL('../../../../node_modules/.bin/buf', import.meta.url));

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

async function curl(target: string, ...args: string[]): Promise<string> {
  const url = `http://${harness.broker.grpcAddress}${target}`;
  const { stdout } = await promisify(execFile)(BUF, [
    'curl',
    '--protocol',
    'grpc',
    '--http2-prior-knowledge',
    url,
    ...args,
  ]);
  return stdout;
}

test('buf curl lists every method of the public services', async () => {
  const methods = (await curl('', '--list-methods')).trimEnd().split('\n');
  for (const method of ['Subscribe', 'Explain', 'ListNodes', 'ListTopics', 'ListSubscriptions', 'GetStatus']) {
    assert.ok(methods.includes(`backplane.v1.Backplane/${method}`), `${method} in ${methods.join(' ')}`);
  }
  assert.ok(methods.includes('grpc.health.v1.Health/Check'), methods.join(' '));
});

test('buf curl calls the methods that it has listed, with the names of the .proto files', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(1, 4)) agent.recorder.record('process.exec', pid);
  const status = JSON.parse(await curl('/backplane.v1.Backplane/GetStatus')) as { nodes: number };
  assert.equal(status.nodes, 1);
  const request = JSON.stringify({ topics: ['process'], since: '1h', include_self: true });
  const lines = await curl('/backplane.v1.Backplane/Subscribe', '-d', request, '--emit-defaults');
  assert.deepEqual(
    [...lines.matchAll(/"pid": (\d+)/g)].map(([, pid]) => Number(pid)),
    range(1, 4),
  );
  assert.match(lines, /"coverage":/);
  assert.deepEqual(JSON.parse(await curl('/grpc.health.v1.Health/Check')), { status: 'SERVING' });
});

test('with the token, buf curl streams, and resumes at the cursor of the last event', async () => {
  await harness.broker.abort();
  harness.wantsToken = true;
  await harness.startBroker();
  const { authorization } = bearer(harness.dataDir);
  const headers = ['--reflect-header', `authorization: ${authorization}`, '-H', `authorization: ${authorization}`];
  await assert.rejects(curl('/backplane.v1.Backplane/GetStatus'));
  const lines = await curl('', ...headers, '--list-services');
  assert.match(lines, /^backplane\.v1\.Backplane$/m);
  const subscribe = async (request: object) => {
    const out = await curl('/backplane.v1.Backplane/Subscribe', ...headers, '-d', JSON.stringify(request));
    const pids = [...out.matchAll(/"pid":\s*(\d+)/g)].map(([, pid]) => Number(pid));
    return { pids, cursor: [...out.matchAll(/"cursor":\s*"([^"]+)"/g)].at(-1)?.[1] };
  };
  const agent = await harness.agent('a');
  for (const pid of range(1, 8)) agent.recorder.record('process.exec', pid);
  const first = await subscribe({ topics: ['process'], since: '1h', limit: 3 });
  assert.deepEqual(first.pids, range(1, 4));
  assert.deepEqual((await subscribe({ topics: ['process'], cursor: first.cursor })).pids, range(4, 8));
});
