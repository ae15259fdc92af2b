/** Whose word counts for what a stream is said not to have any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamInfo } from '@nats-io/jetstream';
import type { NatsLink } from '../../../src/broker/nats/nats-link.js';
import { checkHeard, streamInfo } from '../../../src/broker/nats/stream-leader.js';
import { LEADER_HEARD_MS } from '../../../src/limits.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { linkTo } from '../../harness/nats/state-under-test.js';
import { until } from '../../harness/until.js';

/** NATS's error code. */
const NO_LEADER = 10008;
const MS = 1_000_000;
const unavailable = { code: 'unavailable', message: 'the leader of S hears nothing of the other servers' };

/** @param silentMs of each other server: since when the leader has not heard of it */
function led(...silentMs: number[]): StreamInfo {
  const replicas = silentMs.map((ms, at) => ({ name: `n${at}`, current: true, active: ms * MS }));
  return { config: { name: 'S' }, cluster: { leader: 'n', replicas } } as unknown as StreamInfo;
}

test('a leader is believed that has just heard of most servers', () => {
  checkHeard({ config: { name: 'S' } } as StreamInfo);
  checkHeard(led());
  checkHeard(led(200, 3_600_000));
  checkHeard(led(200, LEADER_HEARD_MS, 3_600_000, 3_600_000));
  for (const info of [led(LEADER_HEARD_MS + 1, 3_600_000), led(200, 3_600_000, 3_600_000, 3_600_000), led(0, 0)])
    assert.throws(() => checkHeard(info), unavailable);
  const away = led(200, 200);
  for (const replica of away.cluster!.replicas!) replica.offline = true;
  assert.throws(() => checkHeard(away), unavailable);
});

test('a leader that the others do not hear is not', { skip: needsNats() }, async (t) => {
  const servers = await NatsServers.start({ count: 3 });
  const links: NatsLink[] = [];
  t.after(async () => {
    for (const link of links) await link.close();
    await servers.destroy();
  });
  const link = await linkTo(servers);
  links.push(link);
  await link.manager.streams.add({ name: 'S', subjects: ['s'], num_replicas: 3, storage: 'file' });
  const { cluster } = (await streamInfo(link.manager, 'S'))!;
  const alone = await linkTo({ urls: servers.of(cluster!.leader!).url });
  links.push(alone);
  const { manager } = alone;
  const isBelieved = () =>
    streamInfo(manager, 'S').then((info) => {
      checkHeard(info!);
      return true;
    });
  await until('it is believed', () => isBelieved().catch(() => false));
  const others = cluster!.replicas!.map(({ name }) => servers.of(name));
  for (const server of others) server.pause();
  try {
    // Some seconds later it has noticed, too, and there is none.
    await until('it is not', () =>
      isBelieved().then(
        () => false,
        ({ code }) => code === 'unavailable',
      ),
    );
    // It answers for itself then; older ones say that there is none.
    await until('there is none', () =>
      manager.streams.info('S').then(
        (info) => !info.cluster?.leader,
        ({ code }) => code === NO_LEADER,
      ),
    );
    await assert.rejects(streamInfo(manager, 'S'), { code: 'unavailable' });
  } finally {
    for (const server of others) server.resume();
  }
  await until('there is one that is', () => isBelieved().catch(() => false));
});
