/** The connection of an agent with its broker. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { Uplink } from '../../../src/sensor-agent/uplink/uplink.js';
import type { UplinkNode } from '../../../src/sensor-agent/uplink/uplink-session.js';
import { settled } from '../../harness/until.js';

const NEVER = (): never => assert.fail('a broker that says nothing asks for nothing');
const NODE: UplinkNode = {
  source: 'synthetic',
  connected: NEVER,
  disconnected: NEVER,
  interest: NEVER,
  history: NEVER,
  lease: NEVER,
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
