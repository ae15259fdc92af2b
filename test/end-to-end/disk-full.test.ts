/** The disk of a node's recorder is full: its status says so at once, a replay over it is incomplete, an event tells of it. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MiB } from '../../src/limits.js';
import { Command, type EventLine, Observer } from '../harness/bus/bus.js';
import { bearer, tokenFile } from '../harness/bus/token.js';
import { cannotMount, withSmallDisk } from '../harness/cluster/small-disk.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

after(() => Command.killAll());

/** Until not a byte more fits. */
function fill(path: string): void {
  const fd = openSync(path, 'w');
  for (let chunk = Buffer.alloc(MiB); chunk.length > 0; ) {
    try {
      writeSync(fd, chunk);
    } catch (cause) {
      assert.equal((cause as NodeJS.ErrnoException).code, 'ENOSPC');
      chunk = chunk.subarray(0, Math.floor(chunk.length / 2));
    }
  }
  closeSync(fd);
}

test('a full disk is reported while it lasts, and as a loss afterwards', { skip: cannotMount }, async () => {
  const brokerDir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  const bus = { grpc: await ownAddress(), http: await ownAddress(), brokerDir };
  try {
    await withSmallDisk(24 * MiB, async (disk) => {
      const broker = new Command(['broker'], {
        BACKPLANE_DATA_DIR: brokerDir,
        BACKPLANE_GRPC_LISTEN: bus.grpc,
        BACKPLANE_HTTP_LISTEN: bus.http,
        BACKPLANE_LOG_LEVEL: 'warn',
      });
      const answers = (path: string) =>
        fetch(`http://${bus.http}${path}`, { headers: bearer(brokerDir) }).then(
          (response) => response.text(),
          () => undefined,
        );
      await until('a broker', () => existsSync(tokenFile(brokerDir)) || broker.goesOn());
      await until('that answers', async () => (await answers('/readyz')) ?? broker.goesOn());
      const agent = new Command(['agent'], {
        BACKPLANE_DATA_DIR: disk,
        BACKPLANE_BROKERS: bus.grpc,
        BACKPLANE_TOKEN_FILE: tokenFile(brokerDir),
        BACKPLANE_NODE_NAME: 'small',
        BACKPLANE_SOURCE: 'synthetic',
        BACKPLANE_SYNTHETIC_RATE: '200',
        BACKPLANE_LOG_LEVEL: 'warn',
      });
      const node = async () => {
        const text = (await answers('/v1/nodes')) ?? '{}';
        const nodes = (JSON.parse(text) as { nodes?: { name: string; degraded?: string }[] }).nodes ?? [];
        return nodes.find(({ name }) => name === 'small') ?? agent.goesOn();
      };
      const replay = async (...args: string[]) => {
        const observer = new Observer(bus, args);
        const code = await observer.exited;
        return { code, stderr: observer.stderr, events: observer.events };
      };
      await until('the node has recorded', async () => {
        const seen = (await node()) && (await replay('--topic', 'process', '--last', '5'));
        return seen && seen.events.length === 5;
      });
      const healthy = await replay('--topic', 'process', '--since', '1h');
      assert.equal(healthy.code, 0, healthy.stderr);
      const live = new Observer(bus, ['--follow', '--topic', 'host', '--topic', 'process']);
      await live.sees(({ topic }) => topic === 'process');

      fill(join(disk, 'ballast'));
      await until('its status says so', async () => /no space for the log/.test((await node())?.degraded ?? ''));
      await until('subscribers are told', () => /small.*no space for the log/.test(live.stderr) || live.goesOn());
      const isFull = ({ type, notice }: EventLine) => type === 'host.degraded' && notice?.reason === 'disk_full';
      await live.sees(isFull);
      const during = await replay('--topic', 'process', '--since', '1h');
      assert.equal(during.code, 4, during.stderr);
      assert.match(during.stderr, /disk_full/);

      rmSync(join(disk, 'ballast'));
      let shown = '';
      await until(
        'it is over',
        async () => {
          shown = (await node())?.degraded ?? '';
          return !shown.includes('no space');
        },
        () => shown + agent.stderr,
      );
      await until('an event is recorded', async () => {
        const { events } = await replay('--topic', 'host', '--since', '1h');
        return (
          events.some(isFull) &&
          events.some(({ type, notice }) => type === 'host.loss' && notice?.reason === 'disk_full')
        );
      });
      const overIt = await replay('--topic', 'process', '--since', '1h');
      assert.equal(overIt.code, 4, overIt.stderr);
      assert.match(overIt.stderr, /disk_full/);
      const from = new Date().toISOString();
      await until('more is recorded', async () => {
        const { code, events, stderr } = await replay('--topic', 'process', '--since', from);
        assert.equal(code, 0, stderr);
        return events.length > 0;
      });
      await live.stop('SIGKILL');
      await agent.stop();
      await broker.stop();
    });
  } finally {
    await Command.killAll();
    rmSync(brokerDir, { recursive: true, force: true });
  }
});
