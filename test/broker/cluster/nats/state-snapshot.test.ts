/** What is made of entries that were replaced while the stream was being read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StateContents } from '../../../../src/broker/cluster/nats/state-contents.js';
import { StateSnapshot } from '../../../../src/broker/cluster/nats/state-snapshot.js';
import { subjectOfKey } from '../../../../src/broker/cluster/nats/state-subject.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { until } from '../../../harness/until.js';

const PREFIX = 'state';

/** A change of an entry, as the stream tells it. */
function message(key: string, sequence: number) {
  const data = Buffer.from(JSON.stringify({ sequence }));
  const subject = subjectOfKey(PREFIX, key);
  return { subject, sequence, timeNs: BigInt(sequence), data, bytes: data.length, headers: undefined };
}

/** Reads five messages, of which none is of the entry `a`, which was known before; the leader has that at `led`. */
async function readFive(led: number | undefined) {
  const nothing = () => new StateContents(PREFIX, () => undefined);
  const before = nothing();
  before.take(message('a', 3));
  const outcomes: string[] = [];
  let asked = 0;
  const streams = {
    info: async () => ({ state: { last_seq: 5 } }),
    getMessage: async () => {
      asked++;
      return led === undefined ? null : { seq: led };
    },
  };
  const snapshot = new StateSnapshot({
    ...{ link: { manager: { streams } } as unknown as NatsLink, stream: 'S', prefix: PREFIX, lastSequence: 5 },
    ...{ before, contents: nothing() },
    onRead: () => outcomes.push('read'),
    onFailure: (reason) => outcomes.push(reason),
  });
  snapshot.begin();
  for (let sequence = 1; sequence <= 5; sequence++) snapshot.take(message(`b${sequence}`, sequence));
  await until('the leader is asked', () => asked > 0);
  // What it answered has been taken in.
  await new Promise(setImmediate);
  return { snapshot, outcomes };
}

test('an entry that was replaced while it was read is read where it is now, before it is believed', async () => {
  const { snapshot, outcomes } = await readFive(7);
  assert.deepEqual(outcomes, []);
  snapshot.take(message('b6', 6));
  await new Promise(setImmediate);
  assert.deepEqual(outcomes, [], 'as it was before it may be lost by now');
  snapshot.take(message('a', 7));
  await until('it is read', () => outcomes.length > 0);
  assert.deepEqual(outcomes, ['read']);
  assert.equal(snapshot.contents.slots.get('a')?.revision, 7);
});

test('an entry that nobody has any more is gone; one that was passed by is read again', async () => {
  const gone = await readFive(undefined);
  assert.deepEqual(gone.outcomes, ['read']);
  assert.equal(gone.snapshot.contents.slots.has('a'), false);
  const passed = await readFive(4);
  await until('it is asked once more', () => passed.outcomes.length > 0);
  assert.deepEqual(passed.outcomes, ['its leader has a, which was not in what was read']);
});
