/** Nothing is told before it is on record who reads. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { AuditTrail } from '../../../src/broker/cluster/audit-trail.js';
import type { Delivery } from '../../../src/broker/delivery/outlet.js';
import { RecordedSink } from '../../../src/broker/delivery/recorded-sink.js';
import { BackplaneError } from '../../../src/errors.js';
import { Harness } from '../../harness/broker/harness.js';
import { until } from '../../harness/until.js';

const message = (node: string): Delivery => ({ kind: 'message', message: { watermark: { node } } });

function held() {
  const written: Delivery[] = [];
  const sink = new RecordedSink({
    write: async (delivery) => {
      written.push(delivery);
    },
    closed: new AbortController().signal,
    client: 'client',
  });
  const recorded = { resolve: (): void => undefined, reject: (_cause: Error): void => undefined };
  sink.heldUntil(
    new Promise<void>((resolve, reject) => {
      Object.assign(recorded, { resolve, reject });
    }),
  );
  return { written, sink, ...recorded };
}

test('what is written before it is on record waits, and comes first', async () => {
  const { written, sink, resolve } = held();
  const all = ['a', 'b', 'c', 'd', 'e'].map(message);
  const early = [sink.write(all[0]!), sink.write(all[1]!)];
  await turn();
  assert.deepEqual(written, []);
  // Written by those who go on behind the first.
  const next = early[0]!.then(() => sink.write(all[2]!));
  resolve();
  await Promise.all([...early, next]);
  await sink.write(all[3]!);
  await Promise.all([sink.write(all[4]!)]);
  assert.deepEqual(written, all);
});

test('where it cannot be put on record nothing is told', async () => {
  const { written, sink, reject } = held();
  const early = assert.rejects(sink.write(message('a')), /disk/);
  reject(new Error('disk'));
  await early;
  await assert.rejects(sink.write(message('b')), /disk/);
  assert.deepEqual(written, []);
});

test('a subscription that cannot be put on record is refused, and waits for no recorder that was asked meanwhile', async (t) => {
  const harness = await Harness.start();
  t.after(async () => {
    mock.restoreAll();
    await harness.destroy();
  });
  const agent = await harness.agent('a');
  let asked = false;
  let refuse: (cause: Error) => void = () => assert.fail();
  const recorded = new Promise<void>((_, reject) => {
    refuse = reject;
  });
  mock.method(AuditTrail.prototype, 'recordReading', () => recorded);
  agent.answerWith = () => {
    asked = true;
  };
  const subscriber = harness.subscribe({ topics: ['process'], since: '1h' });
  await until('the query', () => asked);
  assert.deepEqual(subscriber.responses, []);
  refuse(new BackplaneError('resource_exhausted', 'audit cannot be written (ENOSPC): nothing is told'));
  await subscriber.end();
  assert.match(subscriber.error?.details ?? '', /ENOSPC.*nothing is told/);
  assert.deepEqual(subscriber.responses, []);
});
