/** Where a stream is read of, and what of a stream that cannot be read is said, on real servers. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { headers } from '../../../src/broker/nats/nats-library.js';
import { OrderedReader } from '../../../src/broker/nats/ordered-reader.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { linkTo } from '../../harness/nats/state-under-test.js';
import { until } from '../../harness/until.js';

const STREAM = 'READ';
const TIMES = { silenceMs: 60_000, retryMsMin: 200, retryMsMax: 400, leaderMs: 200 };
const skip = needsNats();

interface Begun {
  readonly cluster?: { readonly leader?: string };
}

/** A stream on so many servers, and one who reads it. */
async function readStream(
  t: TestContext,
  count: 1 | 3,
  begin: (stream: Begun, next: number) => number | Promise<number>,
) {
  const servers = await NatsServers.start({ count });
  const link = await linkTo(servers);
  t.after(async () => {
    await link.close();
    await servers.destroy();
  });
  await link.manager.streams.add({ name: STREAM, subjects: ['read.>'], num_replicas: count, storage: 'file' });
  const read: string[] = [];
  const troubles: (string | undefined)[] = [];
  let next = 1;
  const listener = {
    begin: (stream: Begun) => begin(stream, next),
    message: ({ subject, sequence }: { subject: string; sequence: number }) => {
      read.push(subject);
      next = sequence + 1;
    },
    isWhole: () => true,
    trouble: (reason: string | undefined) => void troubles.push(reason),
    gone: assert.fail,
  };
  const publish = (subject: string) => link.publisher.publish(STREAM, subject, Buffer.from('x'), headers());
  const follow = () => {
    const reader = new OrderedReader(link, STREAM, listener, TIMES);
    t.after(() => reader.close());
  };
  return { link, listener, read, troubles, publish, follow };
}

test('a stream is read where it is led, also after that has changed', { skip }, async (t) => {
  const begun: (string | undefined)[] = [];
  const { link, read, publish, follow } = await readStream(t, 3, ({ cluster }, next) => {
    begun.push(cluster?.leader);
    return next;
  });
  const leader = async () => (await link.manager.streams.info(STREAM)).cluster?.leader;
  follow();
  await publish('read.1');
  await until('the first', () => read.length === 1);
  const before = await leader();
  const stepDown = `$JS.API.STREAM.LEADER.STEPDOWN.${STREAM}`;
  await until('another leader', async () => {
    const now = await leader().catch(() => undefined);
    if (now !== undefined && now !== before) return true;
    await link.asking.request(stepDown, '', { timeout: 1_000 }).catch(() => undefined);
    return false;
  });
  const isReadThere = async () => begun.at(-1) === (await leader().catch(() => before));
  await until('it is read there', isReadThere, () => begun);
  await publish('read.2');
  await until('the second', () => read.length === 2);
  assert.deepEqual(read, ['read.1', 'read.2']);
  assert.ok(begun.length > 1);
});

test('who never gets through what is read from its beginning says so, however long each try takes', {
  skip,
}, async (t) => {
  const { listener, read, troubles, publish, follow } = await readStream(t, 1, async () => {
    await sleep(2 * TIMES.retryMsMin);
    return 1;
  });
  const take = listener.message;
  let isFull = true;
  listener.message = (message) => {
    if (isFull && message.subject === 'read.3') throw new Error('there is no room for it');
    take(message);
  };
  listener.isWhole = () => read.includes('read.3');
  for (const number of [1, 2, 3]) await publish(`read.${number}`);
  follow();
  await until(
    'it is said',
    () => troubles.length > 1,
    () => troubles,
  );
  for (const reason of troubles) assert.match(reason!, /READ is not read: there is no room for it/);
  isFull = false;
  await until(
    'it is read',
    () => read.at(-1) === 'read.3' && troubles.at(-1) === undefined,
    () => read.length,
  );
});
