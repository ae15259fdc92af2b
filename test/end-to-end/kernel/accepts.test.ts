/** Who accepts a connection, where the kernel tells it: of several that may, the one that did. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { Bus, cannotTrace } from '../../harness/bus/bus.js';
import { cannotProbeKernel } from '../../harness/kernel/live-kernel.js';
import { ownAddress } from '../../harness/own-address.js';
import { until } from '../../harness/until.js';

const skip = cannotTrace || cannotProbeKernel();
const CONNECTIONS = 40;

/** A process that listens and four that it forked, which accept: each says which connections it took. */
const WORKERS = `
const { createServer } = require('net');
const cluster = require('cluster');
cluster.schedulingPolicy = cluster.SCHED_NONE;
if (cluster.isPrimary) {
  for (let at = 0; at < 4; at += 1) cluster.fork();
  let ready = 0;
  cluster.on('listening', () => { if (++ready === 4) console.log('ready'); });
} else createServer((socket) => { console.log(process.pid + " " + socket.remotePort); socket.end(); })
  .listen(Number(process.argv[2]), process.argv[1]);
`;

let bus: Bus;
let workers: ChildProcess | undefined;
before(async () => {
  if (!skip) bus = await Bus.start();
});
after(async () => {
  workers?.kill('SIGTERM');
  if (!skip) await bus.destroy();
});

test('of workers that share a listening socket the one that took a connection is named, for its close too', {
  skip,
}, async () => {
  const [host = '', port = ''] = (await ownAddress()).split(':');
  workers = spawn(process.execPath, ['-e', WORKERS, host, port], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface({ input: workers.stdout! }).on('line', (line) => lines.push(line));
  await until('that all listen', () => lines.includes('ready'));
  const observer = await bus.follow('--topic', 'network', '--filter', `network.local.address == "${host}"`);
  const connections = Array.from({ length: CONNECTIONS }, () => connect(Number(port), host).resume());
  await Promise.all(connections.map((one) => new Promise((done) => one.on('close', done))));
  const took = () => lines.filter((line) => /^\d+ \d+$/.test(line)).map((line) => line.split(' ').map(Number));
  await until(
    'that all were taken',
    () => took().length === CONNECTIONS,
    () => lines,
  );
  for (const [pid, peer] of took()) {
    for (const type of ['accept', 'close']) {
      const event = await observer.sees(
        (each) =>
          each.type === `network.tcp.${type}` &&
          each.network!.peer.port === peer &&
          each.network!.local.address === host,
      );
      assert.deepEqual([event.process?.pid, event.network!.failed], [pid, undefined], type);
    }
  }
  await observer.stop('SIGINT');
});
