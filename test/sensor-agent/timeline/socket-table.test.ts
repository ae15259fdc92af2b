/** To which process a connection belongs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessState } from '../../../src/sensor-agent/timeline/process-table.js';
import { SocketTable, TcpState } from '../../../src/sensor-agent/timeline/socket-table.js';

const server: ProcessState = { pid: 1 };
const client: ProcessState = { pid: 2 };

function step(
  table: SocketTable,
  socket: bigint,
  oldState: number,
  newState: number,
  process?: ProcessState,
  address = '127.0.0.1',
  port = 80,
) {
  const meaning = table.follow({ socket, oldState, newState, localAddress: address, localPort: port, process });
  return meaning && [meaning.type, meaning.process?.pid];
}

test('a connection belongs to the process that opened it, although it is established in interrupt context', () => {
  const table = new SocketTable();
  assert.equal(step(table, 5n, TcpState.CLOSE, TcpState.SYN_SENT, client), undefined);
  assert.deepEqual(step(table, 5n, TcpState.SYN_SENT, TcpState.ESTABLISHED), ['network.tcp.connect', 2]);
  assert.deepEqual(step(table, 5n, 5, TcpState.CLOSE), ['network.tcp.close', 2]);
  assert.deepEqual(step(table, 5n, 5, TcpState.CLOSE), ['network.tcp.close', undefined], 'forgotten once closed');
});

test('an accepted connection belongs to the process that listens on its port, on any address', () => {
  const table = new SocketTable();
  assert.deepEqual(step(table, 1n, TcpState.CLOSE, TcpState.LISTEN, server, '0.0.0.0'), ['network.tcp.listen', 1]);
  assert.equal(step(table, 9n, TcpState.LISTEN, TcpState.SYN_RECV), undefined);
  assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', 1]);
  assert.deepEqual(step(table, 9n, 9, TcpState.CLOSE), ['network.tcp.close', 1]);
  assert.equal(step(table, 1n, TcpState.LISTEN, TcpState.CLOSE, server, '0.0.0.0'), undefined);
  step(table, 10n, TcpState.LISTEN, TcpState.SYN_RECV);
  assert.deepEqual(step(table, 10n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', undefined]);
});

test('a dual-stack listener owns IPv4 connections', () => {
  const table = new SocketTable();
  step(table, 1n, TcpState.CLOSE, TcpState.LISTEN, server, '::');
  assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', 1]);
});
