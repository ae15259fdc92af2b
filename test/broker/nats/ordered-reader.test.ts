/** Where a stream is read of, and what of a stream that cannot be read is said, on three real servers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headers } from '../../../src/broker/nats/nats-library.js';
import { OrderedReader } from '../../../src/broker/nats/ordered-reader.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { linkTo } from '../../harness/nats/state-under-test.js';
import { until } from '../../harness/until.js';

const STREAM = 'READ';
const TIMES = { silenceMs: 60_000, retryMsMin: 200, retryMsMax: 400, leaderMs: 200 };

test('a stream is read where it is led, also after that has changed; one that cannot be is said not to be', {
  skip: needsNats(),
}, async (t) => {
  const servers = await NatsServers.start({ count: 3 });
  const link = await linkTo(servers);
  t.after(async () => {
    await link.close();
    await servers.destroy();
  });
  const { manager, asking } = link;
  await manager.streams.add({ name: STREAM, subjects: ['read.>'], num_replicas: 3, storage: 'file' });
  const leader = async () => (await manager.streams.info(STREAM)).cluster?.leader;
  let refused = '';
  let next = 1;
  const read: string[] = [];
  const begun: (string | undefined)[] = [];
  const troubles: (string | undefined)[] = [];
  const listener = {
    begin: ({ cluster }: { cluster?: { leader?: string } }) => {
      begun.push(cluster?.leader);
      return next;
    },
    message: ({ subject, sequence }: { subject: string; sequence: number }) => {
      if (subject === refused) throw new Error('there is no room for it');
      read.push(subject);
      next = sequence + 1;
    },
    trouble: (reason: string | undefined) => void troubles.push(reason),
    gone: assert.fail,
  };
  const reader = new OrderedReader(link, STREAM, listener, TIMES);
  t.after(() => reader.close());
  const publish = (subject: string) => link.publisher.publish(STREAM, subject, Buffer.from('x'), headers());
  await publish('read.1');
  await until('the first', () => read.length === 1);
  const before = await leader();
  await until('another leader', async () => {
    const now = await leader().catch(() => undefined);
    if (now !== undefined && now !== before) return true;
    await asking.request(`$JS.API.STREAM.LEADER.STEPDOWN.${STREAM}`, '', { timeout: 1_000 }).catch(() => undefined);
    return false;
  });
  await until(
    'it is read of another server',
    () => begun.some((server) => server !== before),
    () => begun,
  );
  await publish('read.2');
  await until('the second', () => read.length === 2);
  assert.deepEqual(read, ['read.1', 'read.2']);

  // Each consumer brings what is before it, and none gets further.
  next = 1;
  refused = 'read.3';
  listener.begin = () => 1;
  await publish('read.3');
  await until(
    'it is said',
    () => troubles.some((reason) => reason?.includes('there is no room for it')),
    () => troubles,
  );
  refused = '';
  await until(
    'it is read again',
    () => read.at(-1) === 'read.3' && troubles.at(-1) === undefined,
    () => read.length,
  );
});
