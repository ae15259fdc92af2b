/** The data directory taken away from under `up`: it is not ready, its node says so, and no replay passes for whole. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Command, Observer } from '../harness/bus/bus.js';
import { bearer, tokenFile } from '../harness/bus/token.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

after(() => Command.killAll());

const GONE = /directory \S+ was removed, renamed or replaced while in use/;

const WAYS: Readonly<Record<string, (dir: string) => void>> = {
  removed: (dir) => rmSync(dir, { recursive: true }),
  'renamed away': (dir) => renameSync(dir, `${dir}.away`),
};

for (const [way, act] of Object.entries(WAYS)) {
  test(`a data directory ${way} while up runs is reported, and nothing more is acknowledged`, async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'backplane-test-'));
    const dataDir = join(scratch, 'data');
    // The token goes with the directory: its user has a copy.
    const bus = { grpc: await ownAddress(), http: await ownAddress(), brokerDir: join(scratch, 'client') };
    try {
      const up = new Command(['up'], {
        BACKPLANE_DATA_DIR: dataDir,
        BACKPLANE_GRPC_LISTEN: bus.grpc,
        BACKPLANE_HTTP_LISTEN: bus.http,
        BACKPLANE_NODE_NAME: 'robbed',
        BACKPLANE_SOURCE: 'synthetic',
        BACKPLANE_SYNTHETIC_RATE: '100',
        BACKPLANE_LOG_LEVEL: 'warn',
      });
      await up.says(/backplane observe/);
      mkdirSync(bus.brokerDir);
      writeFileSync(tokenFile(bus.brokerDir), readFileSync(tokenFile(dataDir)), { mode: 0o600 });
      const answer = async (path: string) => {
        up.goesOn();
        return fetch(`http://${bus.http}${path}`, { headers: bearer(bus.brokerDir) });
      };
      const live = new Observer(bus, ['--follow', '--topic', 'process']);
      await live.sees(({ topic }) => topic === 'process');
      const from = new Date().toISOString();
      await until('it is ready', async () => (await answer('/readyz')).status === 200);

      act(dataDir);
      await until('it is not ready', async () => {
        const ready = await answer('/readyz');
        return ready.status === 503 && GONE.test(await ready.text());
      });
      // The logs may notice it first.
      await until('status names the directory', async () => {
        const { logTrouble } = (await (await answer('/v1/status')).json()) as { logTrouble: string };
        return logTrouble.startsWith(`directory ${dataDir} was removed`);
      });
      await until('its node says so', async () => {
        const { nodes } = (await (await answer('/v1/nodes')).json()) as { nodes: { degraded?: string }[] };
        return /nothing is recorded: directory \S+recorder was removed/.test(nodes[0]?.degraded ?? '');
      });
      const replay = new Observer(bus, ['--topic', 'process', '--since', from]);
      assert.equal(await replay.exited, 4, replay.stderr);
      assert.match(replay.stderr, /disk_failed/);
      await live.stop();
      assert.equal(await up.stop(), 0, up.said);

      // Events acknowledged before are lost with the directory; the next start records again.
      const again = new Command(['up'], {
        BACKPLANE_DATA_DIR: dataDir,
        BACKPLANE_GRPC_LISTEN: bus.grpc,
        BACKPLANE_HTTP_LISTEN: bus.http,
        BACKPLANE_NODE_NAME: 'robbed',
        BACKPLANE_SOURCE: 'synthetic',
        BACKPLANE_LOG_LEVEL: 'warn',
      });
      await again.says(/backplane observe/);
      assert.equal(await again.stop(), 0, again.said);
    } finally {
      await Command.killAll();
      rmSync(scratch, { recursive: true, force: true });
    }
  });
}
