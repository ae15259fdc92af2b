/** The connection of an agent with its broker. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { Client } from '../../../src/client/client.js';
import { BackplaneError } from '../../../src/errors.js';
import { isSentAway } from '../../../src/flow/reconnect.js';
import { UPLINK_QUEUE_BYTES_MAX, UPLINK_QUEUE_MESSAGES_MAX } from '../../../src/limits.js';
import { wallNowNs } from '../../../src/nanoseconds.js';
import { Uplink } from '../../../src/sensor-agent/uplink/uplink.js';
import { type UplinkNode, UplinkSession } from '../../../src/sensor-agent/uplink/uplink-session.js';
import { emptyHistoryFrame, encodeHistoryFrame } from '../../../src/wire/frame/history-frame.js';
import { createUplinkClient } from '../../../src/wire/grpc/rpc.js';
import { nsToTimestamp } from '../../../src/wire/messages.js';
import { ORIGIN } from '../../../src/wire/position.js';
import { Harness } from '../../harness/broker/harness.js';
import { HostileBroker } from '../../harness/hostile-broker.js';
import { ownAddress } from '../../harness/own-address.js';
import { settled, until } from '../../harness/until.js';

const NEVER = (): never => assert.fail('a broker that says nothing asks for nothing');
const NODE: UplinkNode = {
  source: 'synthetic',
  connected: NEVER,
  disconnected: NEVER,
  interest: NEVER,
  history: NEVER,
  lease: NEVER,
  linger: NEVER,
  leastLinger: NEVER,
  credit: NEVER,
  cancel: NEVER,
};

test('an agent that is stopped does not wait for a silent broker', async () => {
  const broker = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(broker, 'listening');
  const { port } = broker.address() as AddressInfo;
  const connected = once(broker, 'connection');
  const uplink = new Uplink({
    brokers: [`127.0.0.1:${port}`],
    credentialFor: () => undefined,
    log: pino({ level: 'silent' }),
    hello: () => ({ node: 'a', recorderId: 'r' }),
    report: () => ({}),
    node: NODE,
  });
  const [socket] = await connected;
  await sleep(100);
  await settled('the end of the uplink', uplink.stop());
  socket.destroy();
  broker.close();
});

test('an agent goes on at another broker when its own retires, is killed, or refuses it', async (t) => {
  const [near, far] = [new Harness(), new Harness()];
  for (const harness of [near, far]) {
    harness.grpcListen = await ownAddress();
    await harness.startBroker();
    t.after(() => harness.destroy());
  }
  let connected = 0;
  const uplink = new Uplink({
    brokers: [far.grpcListen, `${near.grpcListen}@here`],
    zone: 'here',
    credentialFor: () => undefined,
    log: pino({ level: 'silent' }),
    hello: () => ({ node: 'a', recorderId: 'r', epoch: 1, wallTime: nsToTimestamp(wallNowNs()) }),
    report: () => ({}),
    node: {
      ...NODE,
      connected: async () => {
        connected += 1;
      },
      disconnected: () => undefined,
      interest: () => ({ position: { ...ORIGIN, epoch: 1 }, errors: [] }),
      linger: () => undefined,
    },
  });
  t.after(() => uplink.stop());
  const has = async ({ broker }: Harness) => {
    const answer = await fetch(`http://${broker.httpAddress}/v1/status`);
    return ((await answer.json()) as { nodes: number }).nodes === 1;
  };
  await until('the one of its zone', () => has(near));
  const client = new Client([near.grpcListen]);
  t.after(() => client.close());
  await client.retire(true);
  await until('the other', () => has(far));
  // The retired one still runs, and refuses.
  await far.broker.abort();
  await until('it is away', () => !uplink.connected);
  await near.broker.abort();
  await near.startBroker();
  await until('the first again', () => has(near));
  assert.equal(connected, 3);
});

test('what a broker refuses an agent with reaches its log, with its code; that it sends it away the uplink learns', async (t) => {
  const harness = new Harness();
  await harness.startBroker();
  t.after(() => harness.destroy());
  const client = createUplinkClient(harness.broker.grpcAddress, undefined);
  t.after(() => client.close());
  const never = new AbortController().signal;
  const open = (node: string, its = NODE) =>
    UplinkSession.open(client, { node, recorderId: 'r', epoch: 1 }, its, never);
  await assert.rejects(open('not a name'), { code: 'invalid_argument', message: /^hello\.node: .*"not a name"/ });
  const lines: Record<string, unknown>[] = [];
  const uplink = new Uplink({
    brokers: [harness.broker.grpcAddress],
    credentialFor: () => undefined,
    log: pino({ base: null }, { write: (line) => lines.push(JSON.parse(line)) }),
    hello: () => ({ node: 'not a name', recorderId: 'r', epoch: 1 }),
    report: () => ({}),
    node: NODE,
  });
  t.after(() => uplink.stop());
  const line = await until('its line', () => lines[0]);
  assert.deepEqual([line.code, line.broker], ['invalid_argument', harness.broker.grpcAddress]);
  assert.match(String(line.msg), /^uplink: hello\.node: .*"not a name"/);
  const session = await open('a', {
    ...NODE,
    connected: async () => undefined,
    disconnected: () => undefined,
    interest: () => ({ position: { ...ORIGIN, epoch: 1 }, errors: [] }),
  });
  const operator = new Client([harness.broker.grpcAddress]);
  t.after(() => operator.close());
  await operator.retire(true);
  await settled('its end', session.ended);
  assert.ok(isSentAway(session.failure), session.failure.message);
});

test('a session that cannot be agreed on is closed, while the channel is still open', async (t) => {
  const broker = await HostileBroker.start();
  const client = createUplinkClient(broker.address, undefined);
  t.after(() => {
    client.close();
    broker.stop();
  });
  let left = 0;
  const node: UplinkNode = {
    ...NODE,
    connected: async () => {
      throw new BackplaneError('unavailable', 'recording goes on in another epoch');
    },
    disconnected: () => {
      left += 1;
    },
  };
  const open = () => UplinkSession.open(client, { node: 'a', recorderId: 'r' }, node, new AbortController().signal);
  await assert.rejects(open(), /recording goes on in another epoch/);
  await until('the broker sees its end', () => broker.sessions[0]?.ended);
  assert.equal(left, 1);
  // Refused before there is a session.
  broker.welcome = { welcome: { session: 's', epochMin: String(Number.MAX_SAFE_INTEGER) } };
  await assert.rejects(open(), /welcome.epoch_min must be at most/);
  broker.welcome = { welcome: { session: 's', protocol: 0 } };
  await assert.rejects(open(), /the broker speaks protocol version one before 2, .*upgrade both/);
  const hello = { node: 'a', recorderId: 'r', version: '1.4.2' };
  const openOf = (version: string) => {
    broker.welcome = { welcome: { session: 's', version } };
    return UplinkSession.open(client, hello, node, new AbortController().signal);
  };
  for (const version of ['1.3.0', '1.5.0']) await assert.rejects(openOf(version), /recording goes on in another epoch/);
  for (const version of ['1.2.0', '1.6.0', '']) {
    await assert.rejects(openOf(version), (error: BackplaneError) => {
      assert.match(error.message, /^the broker is of version \S+, this side of 1\.4\.2: only .* one minor version/);
      return error.message.includes(version === '' ? '0.1,' : version);
    });
  }
  broker.welcome = { lease: {} };
  await assert.rejects(open(), /did not begin with a welcome/);
  await until(
    'the broker sees their ends',
    () => broker.sessions.length === 9 && broker.sessions.every((s) => s.ended),
  );
  assert.equal(left, 3);
});

test('short frames of history wait for the connection before they are too many for it', async (t) => {
  const broker = await HostileBroker.start();
  const client = createUplinkClient(broker.address, undefined);
  const node: UplinkNode = { ...NODE, connected: async () => undefined, disconnected: () => undefined };
  const never = new AbortController().signal;
  const session = await UplinkSession.open(client, { node: 'a', recorderId: 'r' }, node, never);
  t.after(async () => {
    await session.close();
    client.close();
    broker.stop();
  });
  let ended = false;
  void session.ended.then(() => {
    ended = true;
  });
  const { history } = await until('the broker has the session', () => broker.session?.historyCall && broker.session);
  const frameBytes = encodeHistoryFrame(emptyHistoryFrame('process'));
  let sent = 0;
  // Nothing is read meanwhile: this thread is the broker's as well.
  while (session.room.available > 0 && sent < 2 * UPLINK_QUEUE_MESSAGES_MAX) {
    session.frame(1, frameBytes);
    sent += 1;
  }
  session.fail(1, new BackplaneError('cancelled', 'an end has room beside them'));
  await until('all have come', () => ended || history.length === sent + 1);
  assert.ok(!ended, session.failure.message);
  await until('there is room again', () => session.room.available === UPLINK_QUEUE_BYTES_MAX);
});
