/** Where /proc is not mounted an agent records what it can, says once what it cannot see, and keeps its connection. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Command, MAIN, testerEnvironment } from '../harness/bus/bus.js';
import { bearer } from '../harness/bus/token.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

after(() => Command.killAll());

const WITHOUT_PROC = ['--mount', '--propagation', 'private', 'sh', '-c', 'umount -l /proc && exec "$@"', 'sh'];
const tried = spawnSync('unshare', [...WITHOUT_PROC, 'true'], { encoding: 'utf8' });
const skip = tried.status === 0 ? false : `needs a mount namespace: ${tried.stderr ?? tried.error}`;

for (const source of ['auto', 'procfs', 'synthetic']) {
  test(`without /proc and with source ${source} an agent keeps one session and reports what it cannot see`, {
    skip,
  }, async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
    const env = {
      BACKPLANE_DATA_DIR: dataDir,
      BACKPLANE_GRPC_LISTEN: await ownAddress(),
      BACKPLANE_HTTP_LISTEN: await ownAddress(),
      BACKPLANE_NODE_NAME: 'blind',
      BACKPLANE_SOURCE: source,
    };
    try {
      const up = new Command(['up'], env, true, ['unshare', ...WITHOUT_PROC]);
      await up.says(/backplane observe/);
      const node = async () => {
        const answer = await fetch(`http://${env.BACKPLANE_HTTP_LISTEN}/v1/nodes`, { headers: bearer(dataDir) });
        const { nodes } = (await answer.json()) as {
          nodes: { degraded?: string; residentBytes?: string; connectedSince?: string; eventsRecorded?: string }[];
        };
        return nodes[0] ?? up.goesOn();
      };
      const first = await until('a node that reports', async () => {
        const found = await node();
        return Number(found?.residentBytes) > 0 && found;
      });
      assert.match(first.degraded ?? '', /\/proc is not mounted: /);
      // The session must still be the same two reports later.
      const seen = new Set<string>();
      await until('further reports', async () => {
        const { residentBytes, connectedSince } = (await node())!;
        assert.equal(connectedSince, first.connectedSince);
        return seen.add(residentBytes!).size > 2;
      });
      assert.doesNotMatch(up.said, /uplink: |recording stopped/);
      assert.equal(up.said.match(/uplink connected/g)?.length, 1, up.said);
      assert.equal(await up.stop(), 0, up.said);
    } finally {
      await Command.killAll();
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
}

test('doctor without /proc names what is missing, and does not fail because of it', { skip }, () => {
  const args = [...WITHOUT_PROC, process.execPath, MAIN, 'doctor'];
  const { stdout, stderr } = spawnSync('unshare', args, {
    encoding: 'utf8',
    env: { ...testerEnvironment(), NO_COLOR: '1' },
  });
  assert.match(stdout, /\/proc is not mounted/);
  assert.equal(stderr, '');
});
