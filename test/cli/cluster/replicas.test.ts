/** Replicas of a cluster's streams on three real servers: how many there are, and what `cluster check` says where some are away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Outcome, run } from '../../harness/bus/command.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { runs } from '../../harness/runs.js';
import { until } from '../../harness/until.js';

/** Of a cluster: partitions, what brokers agree on, documents. */
const STREAMS = 13;

test('streams get replicas, and check names those that are away, and streams without a leader', {
  skip: needsNats(),
}, async (t) => {
  const servers = await NatsServers.start({ count: 3 });
  const [first, second, third] = servers.servers as [NatsServers['first'], NatsServers['first'], NatsServers['first']];
  const cluster = (verb: string, ...flags: string[]) =>
    run(['cluster', verb, '--nats', servers.urls, '--cluster', 'prod', ...flags]);
  /** Of `check`, once each stream's line is so: servers notice after a while that another one has gone, or has all. */
  const checked = async (what: string, line: RegExp) => {
    let last: Outcome | undefined;
    const holds = async () => {
      last = await cluster('check');
      const lines = last.out.split('\n').filter((told) => /^(BP|KV_BP)_prod/.test(told));
      return lines.length === STREAMS && lines.every((told) => line.test(told));
    };
    await until(what, holds, () => last);
    return last!;
  };
  try {
    const made = await cluster('init', '--replicas', '1', '--log-bytes-max', '512MiB');
    assert.equal(made.code, 0, made.err);
    const one = await checked('they are there', /, 1 replica: as it must be$/);
    assert.match(one.out, /^BP_prod_0: 0 of 64MiB, 24h, 1 replica: as it must be$/m);

    const set = await cluster('set', '--replicas', '3', '--log-age-max', '2h');
    assert.deepEqual(set, { code: 0, out: 'cluster prod is changed\n', err: '' });
    const three = await checked('all have three', /, 3 replicas: as it must be$/);
    assert.equal(three.code, 0, three.out);
    for (let at = 0; at < 8; at++) {
      assert.match(three.out, new RegExp(`^BP_prod_${at}: 0 of 64MiB, 2h, 3 replicas: as it must be$`, 'm'));
    }
    assert.match(three.out, /^BP_prod_alert: 0 of 256MiB, 30d, 3 replicas/m, 'its age is its own');

    await third.kill();
    const less = await checked('all lack one', /: its replica on n3 is (away|not current)$/);
    assert.equal(less.code, 1);
    assert.match(less.out, new RegExp(`^nats: none of ${third.url} can be used: connection refused$`, 'm'));

    const isLong = runs(1) > 1;
    await t.test('two of three are away', { skip: isLong ? false : 'only with BACKPLANE_TEST_FACTOR' }, async () => {
      await second.kill();
      const none = await checked('none has a leader', /: it has no leader: nothing is acknowledged$/);
      assert.equal(none.code, 1);
      assert.match(none.out, new RegExp(`^nats-server at ${new URL(first.url).host}: `, 'm'));
    });
  } finally {
    await servers.destroy();
  }
});
