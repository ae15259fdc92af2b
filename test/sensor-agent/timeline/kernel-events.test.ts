/** Which connections count as Backplane's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KernelEvents } from '../../../src/sensor-agent/timeline/kernel-events.js';
import { TcpState } from '../../../src/sensor-agent/timeline/socket-table.js';

const BROKER = { address: [127, 0, 0, 1], port: 8484 };
const HTTP = { address: [127, 0, 0, 1], port: 8485 };
const ELSEWHERE = { address: [127, 0, 0, 1], port: 40_000 };
const SOFTIRQ = 0x10;
const [UP, OBSERVE] = [10, 20];

type End = typeof BROKER;

/** As an agent knows it from its origin: a broker at 8484 whose process has listened there and at 8485 before. */
function kernel(): KernelEvents {
  const events = new KernelEvents();
  const up = events.processes.ensure(UP);
  up.self = true;
  events.brokers = new Set(['127.0.0.1:8484']);
  for (const { port } of [BROKER, HTTP]) events.sockets.listening(`127.0.0.1:${port}`, up);
  return events;
}

let socket = 0n;

/** A connection from its first transition to the one that is told, `pid` undefined in interrupt context. */
function connection(events: KernelEvents, states: readonly number[], local: End, peer: End, pid: number | undefined) {
  socket += 1n;
  const told = states.slice(1).map((newstate, at) => {
    const values = {
      skaddr: socket,
      protocol: 6,
      family: 2,
      oldstate: states[at]!,
      newstate,
      sport: local.port,
      dport: peer.port,
      saddr: local.address,
      daddr: peer.address,
      saddr_v6: [],
      daddr_v6: [],
    };
    const place = { position: { epoch: 1, timeNs: socket, lane: 0, tie: at }, wallNs: 1n };
    const event = { name: 'inet_sock_set_state', pid: pid ?? 0, flags: pid === undefined ? SOFTIRQ : 0, values };
    return events.follow(event, place, undefined, () => true);
  });
  return told.at(-1)!;
}

const ACCEPT = [TcpState.CLOSE, TcpState.SYN_RECV, TcpState.ESTABLISHED];
const CONNECT = [TcpState.CLOSE, TcpState.SYN_SENT, TcpState.ESTABLISHED];

test('connections that a broker accepts are its own, although it listened before the recording began', () => {
  for (const end of [BROKER, HTTP]) {
    const event = connection(kernel(), ACCEPT, end, ELSEWHERE, undefined);
    assert.deepEqual([event.type, event.process?.pid, event.self], ['network.tcp.accept', UP, true]);
  }
});

test("only a subscriber's connections with a broker's gRPC port are Backplane's own, not its others", () => {
  const events = kernel();
  assert.equal(connection(events, CONNECT, ELSEWHERE, BROKER, OBSERVE).self, true);
  for (const peer of [HTTP, { ...BROKER, address: [10, 0, 0, 1] }]) {
    const event = connection(events, CONNECT, ELSEWHERE, peer, OBSERVE);
    assert.equal(event.process?.pid, OBSERVE);
    assert.notEqual(event.self, true);
  }
});
