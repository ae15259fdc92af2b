/** `up` is ready when its own node is there: what is asked then is answered whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, Command, cannotTrace } from '../harness/bus/bus.js';
import { readLines } from '../harness/bus/event-stream.js';
import { until } from '../harness/until.js';

/** Waits for /readyz to answer so; returns its text. */
async function answers(bus: Bus, status: number): Promise<string> {
  return until(
    `${status} of /readyz`,
    async () => {
      const answer = await fetch(`http://${bus.http}/readyz`).catch(() => undefined);
      return answer?.status === status && answer.text();
    },
    () => bus.up.said,
  );
}

test('up that was killed and started again is ready only with its node back, so that a replay is complete', {
  skip: cannotTrace,
}, async () => {
  const bus = await Bus.start();
  try {
    await answers(bus, 200);
    await sleep(1_000);
    const since = new Date().toISOString();
    await sleep(1_000);
    for (let round = 0; round < 3; round++) {
      await bus.up.stop('SIGKILL');
      const started = bus.start();
      assert.equal(await answers(bus, 200), 'ok\n');
      const replay = new Command(['observe', '--topic', 'process', '--since', since, '-o', 'json'], {
        BACKPLANE_BROKERS: bus.grpc,
        BACKPLANE_DATA_DIR: bus.dataDir,
      });
      replay.child.stdout!.resume();
      assert.equal(await replay.exited, 0, `round ${round}: ${replay.stderr}`);
      await started;
    }
  } finally {
    await bus.destroy();
  }
});

/** How many events of the past the nodes with a label have. */
async function ofLabel(bus: Bus, label: string): Promise<number> {
  let events = 0;
  const answer = await bus.get(`/v1/events?since=1h&limit=5&node=${encodeURIComponent(label)}`);
  await readLines(answer, ({ event }) => {
    if (event) events += 1;
    return true;
  });
  return events;
}

test('up is not ready while its agent is away, and says so; its node is selected by its labels', async () => {
  const env = {
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: '100',
    BACKPLANE_AGENT_LABELS: 'zone=b,rack=7',
  };
  const bus = await Bus.start(env);
  try {
    await answers(bus, 200);
    await until('events', async () => (await ofLabel(bus, 'zone=*')) === 5);
    assert.equal(await ofLabel(bus, 'zone=a'), 0);
    const { nodes } = (await (await bus.get('/v1/nodes')).json()) as { nodes: { labels: string[] }[] };
    assert.deepEqual(nodes[0]!.labels, ['zone=b', 'rack=7']);
    process.kill(await bus.agentPid(), 'SIGKILL');
    assert.match(await answers(bus, 503), /this node's agent /);
    await answers(bus, 200);
  } finally {
    await bus.destroy();
  }
});
