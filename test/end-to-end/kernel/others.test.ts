/**
 * What others trace stays as it is, byte by byte, however often our agent is started and killed, and at whatever moment;
 * and when it ends in order, nothing of ours is left.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, cannotTrace } from '../../harness/bus/bus.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { instancesOf, leftOf } from '../../harness/kernel/agent-instances.js';
import { cannotProbePrograms, liveTracefs } from '../../harness/kernel/live-kernel.js';
import { OtherTool } from '../../harness/kernel/other-tool.js';
import { ownAddress } from '../../harness/own-address.js';
import { runs } from '../../harness/runs.js';
import { until } from '../../harness/until.js';

const live = liveTracefs();
const ROUNDS = runs(5);

/** Its instances are there, of which one is for containers that there may be, and it goes on. */
const records = (agent: Command) =>
  until('an agent that records', () => instancesOf(agent.child.pid!).length >= 2 || agent.goesOn());

test("others' probes, instances and events are as they were after an agent was killed again and again; ours are gone", {
  skip: cannotTrace || cannotProbePrograms(),
}, async () => {
  const dataDir = scratchDirectory('others');
  const env = {
    ...{ BACKPLANE_DATA_DIR: dataDir, BACKPLANE_SOURCE: 'tracefs', BACKPLANE_LOG_LEVEL: 'warn' },
    ...{ BACKPLANE_GRPC_LISTEN: await ownAddress(), BACKPLANE_HTTP_LISTEN: await ownAddress() },
  };
  const other = new OtherTool(live.path, `others_${process.pid}`);
  try {
    const before = other.read();
    assert.match(before.get('recorded')!, /was here/);
    let startMs = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const beganMs = performance.now();
      const agent = new Command(['agent'], { ...env, BACKPLANE_BROKERS: '127.0.0.1:1' });
      // In turn: while it records, then twice within its start.
      const killedAfterMs = round % 3 === 0 ? undefined : Math.random() * startMs;
      if (killedAfterMs === undefined) {
        await records(agent);
        startMs = performance.now() - beganMs;
        await sleep(Math.random() * 200);
      } else await sleep(killedAfterMs);
      await agent.stop('SIGKILL');
      assert.deepEqual(other.read(), before, `round ${round}, killed after ${killedAfterMs} of ${startMs} ms`);
    }
    const { instances, definitions } = leftOf(dataDir);
    assert.ok(instances.length > 0 && definitions.length > 0, 'a killed agent leaves its probes');
    const up = new Command(['up'], env);
    await up.says(/backplane observe/);
    assert.equal(await up.stop('SIGTERM'), 0, up.stderr);
    assert.deepEqual(leftOf(dataDir), { instances: [], definitions: [] });
    assert.deepEqual(other.read(), before);
  } finally {
    await Command.killAll();
    other.remove();
  }
});
