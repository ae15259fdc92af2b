import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, cannotTrace, freePort, Observer } from './bus.js';
import { tokenFile } from './token.js';

const SECONDS = 30;

/** A TCP proxy in front of the broker that counts what the agent sends. */
async function counted(port: number) {
  const count = { bytes: 0 };
  const server = createServer((agent) => {
    const broker = connect(port, '127.0.0.1');
    agent.on('data', (data) => {
      count.bytes += data.length;
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
  return { count, server, port: (server.address() as { port: number }).port };
}

test('with no subscriber nothing but keep-alives and reports leaves a node', { skip: cannotTrace }, async () => {
  const dirs = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'backplane-test-')));
  const grpc = `127.0.0.1:${await freePort()}`;
  const http = `127.0.0.1:${await freePort()}`;
  const broker = new Command(['broker'], {
    BACKPLANE_DATA_DIR: dirs[0],
    BACKPLANE_GRPC_LISTEN: grpc,
    BACKPLANE_HTTP_LISTEN: http,
    BACKPLANE_LOG_LEVEL: 'warn',
  });
  await sleep(1_500);
  const proxy = await counted(Number(grpc.split(':')[1]));
  const agent = new Command(['agent'], {
    BACKPLANE_DATA_DIR: dirs[1],
    BACKPLANE_BROKERS: `127.0.0.1:${proxy.port}`,
    BACKPLANE_TOKEN_FILE: tokenFile(dirs[0]!),
    BACKPLANE_NODE_NAME: 'silent-node',
    BACKPLANE_LOG_LEVEL: 'warn',
  });
  const load = spawn('/bin/sh', ['-c', 'while :; do /bin/true; /bin/true; sleep 0.01; done'], { stdio: 'ignore' });
  try {
    await sleep(4_000);
    const before = proxy.count.bytes;
    assert.ok(before > 0, `the agent connected; ${agent.stderr}`);
    await sleep(SECONDS * 1000);
    const silent = proxy.count.bytes - before;
    // A report of some 100 bytes every 5 s, pings, window updates.
    assert.ok(silent < 4096, `${silent} bytes in ${SECONDS} s`);
    const observer = new Observer({ grpc, brokerDir: dirs[0]! }, ['--follow', '--topic', 'process']);
    await observer.sees((event) => event.type === 'process.exec');
    await sleep(2_000);
    assert.ok(proxy.count.bytes - before - silent > 16 * 1024, 'the same load is sent once somebody asks');
    await observer.stop('SIGINT');
  } finally {
    load.kill('SIGKILL');
    await agent.stop();
    await broker.stop();
    proxy.server.close();
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  }
});
