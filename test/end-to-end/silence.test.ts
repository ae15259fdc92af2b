/** With no subscriber nothing of what a node records leaves it: looked for in the bytes that it sends. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Command, cannotTrace, Observer } from '../harness/bus/bus.js';
import { bearer, tokenFile } from '../harness/bus/token.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

/** What is sent while nobody asks: a report every five seconds, pings, window updates. */
const REPORTS = 4;

/** A TCP proxy in front of the broker that keeps what the agent sends. */
async function tapped(broker: string) {
  const sent: Buffer[] = [];
  const [host, port] = broker.split(':');
  const server = createServer((agent) => {
    const broker = connect(Number(port), host);
    agent.on('data', (data) => {
      sent.push(data);
      broker.write(data);
    });
    broker.pipe(agent);
    for (const [a, b] of [
      [agent, broker],
      [broker, agent],
    ] as const)
      a.on('error', () => b.destroy()).on('close', () => b.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { sent, server, address: `127.0.0.1:${(server.address() as { port: number }).port}` };
}

test('without a subscriber no recorded event leaves its node', { skip: cannotTrace }, async () => {
  const dirs = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'backplane-test-')));
  const [grpc, http] = [await ownAddress(), await ownAddress()];
  const broker = new Command(['broker'], {
    BACKPLANE_DATA_DIR: dirs[0],
    BACKPLANE_GRPC_LISTEN: grpc,
    BACKPLANE_HTTP_LISTEN: http,
    BACKPLANE_LOG_LEVEL: 'warn',
  });
  await broker.says(/listening on/);
  const { sent, server, address } = await tapped(grpc);
  const agent = new Command(['agent'], {
    BACKPLANE_DATA_DIR: dirs[1],
    BACKPLANE_BROKERS: address,
    BACKPLANE_TOKEN_FILE: tokenFile(dirs[0]!),
    BACKPLANE_NODE_NAME: 'silent-node',
    BACKPLANE_LOG_LEVEL: 'warn',
  });
  const mark = randomBytes(8).toString('hex');
  const load = spawn('/bin/sh', ['-c', `while :; do /bin/echo ${mark}; sleep 0.01; done`], { stdio: 'ignore' });
  const isMarked = () => Buffer.concat(sent).includes(mark);
  try {
    await until('the node is there', async () => {
      const { nodes } = (await (await fetch(`http://${http}/v1/nodes`, { headers: bearer(dirs[0]!) })).json()) as {
        nodes: { name: string }[];
      };
      return nodes.some(({ name }) => name === 'silent-node');
    });
    const before = sent.length;
    await until(
      'reports',
      () => sent.length >= before + REPORTS,
      () => sent.length,
    );
    assert.ok(!isMarked(), 'what was recorded was sent though nobody asked');
    const observer = new Observer({ grpc, brokerDir: dirs[0]! }, ['--follow', '--topic', 'process']);
    await until('the same is sent once somebody asks', isMarked, () => sent.length);
    await observer.stop('SIGINT');
  } finally {
    load.kill('SIGKILL');
    await agent.stop();
    await broker.stop();
    server.close();
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  }
});
