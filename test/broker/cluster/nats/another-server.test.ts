/** A state that was read from a server that has something else than its leader, as one may after a power cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
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
