/** What look-ups of routes mean for datagrams, and what they do not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATAGRAM_ROUTE_NS_MAX, DATAGRAM_THREADS_MAX } from '../../../../src/limits.js';
import { DatagramRoutes, type Route } from '../../../../src/sensor-agent/timeline/datagrams/datagram-routes.js';

const route = (peerPort: number, more: Partial<Route> = {}): Route => ({
  ...{ ipv6: false, localAddress: '', localPort: 40_000, peerAddress: '192.0.2.1', peerPort, timeNs: 1_000n },
  ...more,
});

test('a look-up before the end of a send is of that send, and of no other', () => {
  const routes = new DatagramRoutes();
  routes.asked(7, route(1));
  assert.equal(routes.sent(8, 2_000n), undefined, 'another thread');
  assert.equal(routes.sent(7, 2_000n)?.peerPort, 1);
  assert.equal(routes.sent(7, 2_000n), undefined, 'a connected socket sends');
  // Tables are looked up one after the other.
  routes.asked(7, route(2));
  routes.asked(7, route(2));
  assert.equal(routes.sent(7, 2_000n)?.peerPort, 2);
});

test('what is looked up in connect() is its peer, not that of the next send', () => {
  const routes = new DatagramRoutes();
  routes.connects(7);
  routes.asked(7, route(1));
  routes.asked(7, route(1, { localAddress: '192.0.2.9' }));
  assert.deepEqual(routes.connected(7), route(1, { localAddress: '192.0.2.9' }));
  assert.equal(routes.sent(7, 2_000n), undefined);
  // One that began before it could be seen, and one that returned unseen.
  routes.asked(7, route(1));
  assert.equal(routes.connected(7), undefined);
  routes.connects(7);
  routes.asked(7, route(1));
  assert.equal(routes.sent(7, 2_000n), undefined);
});

test('several peers before one send, and a look-up long before it, say nothing', () => {
  const routes = new DatagramRoutes();
  routes.asked(7, route(1));
  routes.asked(7, route(4_789));
  assert.equal(routes.sent(7, 2_000n), undefined);
  routes.connects(7);
  routes.asked(7, route(1));
  routes.asked(7, route(2));
  routes.asked(7, route(2));
  assert.equal(routes.connected(7), undefined);
  routes.asked(7, route(1));
  assert.equal(routes.sent(7, 1_001n + DATAGRAM_ROUTE_NS_MAX), undefined);
});

test('threads end, events may be missing, and threads are bounded', () => {
  const routes = new DatagramRoutes();
  for (const end of [() => routes.forget(7), () => routes.clear()]) {
    routes.asked(7, route(1));
    end();
    assert.equal(routes.sent(7, 2_000n), undefined);
  }
  for (let thread = 0; thread <= DATAGRAM_THREADS_MAX; thread += 1) routes.asked(thread, route(1));
  assert.equal(routes.sent(0, 2_000n), undefined);
  assert.equal(routes.save().length, DATAGRAM_THREADS_MAX);
});
