/** A state that was read from a server that has something else than its leader, as one may after a power cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sharedStream } from '../../../../src/broker/cluster/nats/coordination-streams.js';
import { subjectOfKey } from '../../../../src/broker/cluster/nats/state-subject.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { newCluster, openNatsState, twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
const nats = twoOnNats();

/** A link whose first consumer is on a server that lacks all but these subjects. */
function lacking(link: NatsLink, filter_subjects: string[]): NatsLink {
  let made = 0;
  const consumers = Object.create(link.manager.consumers, {
    add: {
      value: (stream: string, config: Parameters<typeof link.manager.consumers.add>[1]) =>
        link.manager.consumers.add(stream, made++ === 0 ? { ...config, filter_subjects } : config),
    },
  });
  return { ...link, manager: Object.create(link.manager, { consumers: { value: consumers } }) };
}

test('a state that was read from a server that lacks something is read again', { skip }, async () => {
  const cluster = await newCluster(nats.links[0]);
  const one = await openNatsState(nats.links[0], cluster, { broker: 'b1' });
  const other = await openNatsState(nats.links[1], cluster, { broker: 'b2' });
  await one.put('count', { number: 1 });
  await one.put('token', {});
  const { prefix } = sharedStream(cluster);
  const only = [subjectOfKey(prefix, 'token'), `${prefix}.=tick.>`];
  const third = await openNatsState(lacking(nats.links[0], only), cluster, { broker: 'b3' });
  assert.equal(third.get('count'), undefined);
  await third.put('count', { number: 2 });
  await until('that all have it', () => [one, other].every((state) => state.get('count')?.value.number === 2));
  assert.equal(other.get('token')?.revision, third.get('token')?.revision);
  await Promise.all([one, other, third].map((state) => state.close()));
});

/** A link that counts its consumers, and whose next publish and next answer come late. */
function late(link: NatsLink) {
  const next: { publish?: () => Promise<unknown>; answer?: () => Promise<unknown> } = {};
  const made = { consumers: 0 };
  const come = async (what: keyof typeof next) => {
    const comes = next[what];
    delete next[what];
    await comes?.();
  };
  const { streams, consumers } = link.manager;
  const publish: NatsLink['publisher']['publish'] = async (...given) => {
    await come('publish');
    return link.publisher.publish(...given);
  };
  const getMessage: typeof streams.getMessage = async (...asked) => {
    const found = await streams.getMessage(...asked);
    await come('answer');
    return found;
  };
  const add: typeof consumers.add = (...asked) => {
    made.consumers++;
    return consumers.add(...asked);
  };
  const manager = Object.create(link.manager, {
    streams: { value: Object.create(streams, { getMessage: { value: getMessage } }) },
    consumers: { value: Object.create(consumers, { add: { value: add } }) },
  });
  const publisher = Object.create(link.publisher, { publish: { value: publish } });
  return { next, made, link: { ...link, manager, publisher } };
}

test('what was read while its leader was asked is nothing that the leader has lost', { skip }, async () => {
  const cluster = await newCluster(nats.links[0]);
  const { link, next, made } = late(nats.links[0]);
  const one = await openNatsState(link, cluster, { broker: 'b1' });
  const other = await openNatsState(nats.links[1], cluster, { broker: 'b2' });
  await one.put('count', { number: 1 });
  const { consumers } = made;
  const change = async (number: number) => {
    const revision = await other.put('count', { number });
    await until('it is read', () => one.get('count')?.revision === revision);
  };
  next.publish = () => change(2);
  next.answer = () => change(3);
  await one.put('count', { number: 4 });
  assert.equal(one.get('count')?.value.number, 4);
  assert.deepEqual([next, made.consumers], [{}, consumers], 'it is not read from its beginning');
  await Promise.all([one, other].map((state) => state.close()));
});

test('a change whose answer comes after its time, from what the stream has lost since, fails, and holds up no other', {
  skip,
}, async () => {
  const [link] = nats.links;
  const cluster = await newCluster(link);
  const writeMs = 1_000;
  let isLate = true;
  const publisher = Object.create(link.publisher, {
    publish: {
      value: async (...given: Parameters<NatsLink['publisher']['publish']>) => {
        const sequence = await link.publisher.publish(...given);
        if (!isLate) return sequence;
        isLate = false;
        await sleep(2 * writeMs);
        return sequence + 1_000_000;
      },
    },
  });
  const state = await openNatsState({ ...link, publisher }, cluster, { times: { writeMs } });
  await assert.rejects(state.put('count', { number: 1 }), /did not confirm it in time, it may or may not be done/);
  await state.put('count', { number: 2 });
  assert.equal(state.get('count')?.value.number, 2);
  await state.close();
});
