/** Deadlines of calls, and calls that end before they have begun. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { subscribeRequestCodec } from '../../../src/wire/messages.js';
import { range, until } from '../../harness/broker/harness.js';
import { RawHttp2 } from '../../harness/broker/raw-http2.js';
import { framed, Witness } from '../../harness/broker/witness.js';

const SUBSCRIBE = '/backplane.v1.Backplane/Subscribe';
const FOLLOW = framed(subscribeRequestCodec.encode({ topics: ['process'], follow: true }));
/** Subscriptions of the witness itself. */
const OWN = 1;

let witness: Witness;
before(async () => {
  witness = await Witness.start();
});
after(() => witness.destroy());

test('a call ends at its deadline and not before, however far away the deadline is', async () => {
  // Cut to signed 32 bits these would be in the past, at once, in 57 minutes, and at 0.
  const far = ['597H', '1193H', '1194H', '35792M', '2147484S', '4294968S', '99999999S', '99999999M', '99999999H'];
  const near = ['596H', '99999999m', '99999999u', '1H'];
  const raw = await RawHttp2.connect(witness.harness.broker.grpcAddress);
  const ids = [...far, ...near].map((timeout, index) => {
    const id = 1 + 2 * index;
    raw.request(id, SUBSCRIBE, [['grpc-timeout', timeout]]);
    return id;
  });
  await Promise.all(ids.map((id) => raw.data(id, FOLLOW, FOLLOW.length, true)));
  await witness.harness.hasSubscriptions(OWN + ids.length);
  // One that comes is the control: the others have had their time to end wrongly.
  raw.request(99, SUBSCRIBE, [['grpc-timeout', '300m']]);
  await raw.data(99, FOLLOW, FOLLOW.length, true);
  await until('the near deadline', () => raw.ended.has(99));
  assert.deepEqual([...raw.ended], [99]);
  raw.destroy();
  await witness.harness.hasSubscriptions(OWN);
});

test('an invalid deadline is refused with a sentence that shows only part of it', async () => {
  for (const timeout of ['', '1', 'H', '-1S', '1.5S', '123456789S', '1x', '1S, 2S', '1 S', '9'.repeat(5_000)]) {
    const { status, message } = await witness.call(SUBSCRIBE, [FOLLOW], { 'grpc-timeout': timeout });
    assert.equal(status, '3', timeout);
    assert.match(
      message,
      /^grpc-timeout must be (1 to 8 digits and H, M, S, m, u or n, got "|at most 128 characters, got )/,
    );
    assert.ok(message.length < 200);
  }
  await witness.served();
});

test('an answer repeats at most a bounded part of a header', async () => {
  const long = `/${'x'.repeat(10_000)}`;
  assert.deepEqual(await witness.call(long, [FOLLOW]), {
    status: '3',
    message: ':path must be at most 128 characters, got 10001',
    reset: 0,
  });
  const { status, message } = await witness.call(SUBSCRIBE, [framed(Buffer.alloc(5), 1)], { 'grpc-encoding': long });
  assert.deepEqual([status, message], ['3', 'grpc-encoding must be at most 128 characters, got 10001']);
});

test('a subscription that its caller gives up, in any way and at any time, is removed', async () => {
  const ways: Record<string, (raw: RawHttp2, ids: readonly number[]) => Promise<unknown>> = {
    'reset with the request': async (raw, ids) => {
      for (const id of ids) {
        void raw.data(id, FOLLOW, FOLLOW.length, true);
        await raw.reset(id);
      }
    },
    'reset later': async (raw, ids) => {
      for (const id of ids) void raw.data(id, FOLLOW, FOLLOW.length, true);
      await witness.harness.hasSubscriptions(OWN + ids.length);
      for (const id of ids) await raw.reset(id);
    },
    'the deadline comes before the end of the request': async (raw, ids) => {
      for (const id of ids) await raw.data(id, FOLLOW, FOLLOW.length);
      await until('the deadlines', () => raw.ended.size === ids.length);
      for (const id of ids) await raw.data(id, Buffer.alloc(0), 1, true);
      await raw.ping();
    },
    'the connection ends': async (raw, ids) => {
      for (const id of ids) void raw.data(id, FOLLOW, FOLLOW.length, true);
      await witness.harness.hasSubscriptions(OWN + ids.length);
      raw.destroy();
    },
    'the connection ends at once': async (raw, ids) => {
      for (const id of ids) void raw.data(id, FOLLOW, FOLLOW.length, true);
      raw.destroy();
    },
  };
  for (const [way, act] of Object.entries(ways)) {
    const raw = await RawHttp2.connect(witness.harness.broker.grpcAddress);
    const ids = range(0, 50).map((index) => 1 + 2 * index);
    const headers = way.includes('deadline') ? [['grpc-timeout', '50m'] as const] : [];
    for (const id of ids) raw.request(id, SUBSCRIBE, headers);
    await act(raw, ids);
    await witness.harness.hasSubscriptions(OWN);
    raw.destroy();
    await witness.harness.hasSubscriptions(OWN);
  }
  await witness.served();
});
