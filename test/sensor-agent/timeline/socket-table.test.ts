/** To which process a connection belongs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessState } from '../../../src/sensor-agent/timeline/process-state.js';
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
  const meaning = table.follow({
    socket,
    oldState,
    newState,
    localAddress: address,
    localPort: port,
    wallNs: 0n,
    process,
  });
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

const other: ProcessState = { pid: 3 };
const worker: ProcessState = { pid: 4, createdWallNs: 10n };
const FIN_WAIT1 = 4;
const LAST_ACK = 9;

test('of two that listen on one port nobody is named until one of them acts on the connection', () => {
  for (const [first, second] of [
    ['0.0.0.0', '0.0.0.0'],
    ['0.0.0.0', '::'],
    ['127.0.0.1', '0.0.0.0'],
  ] as const) {
    const table = new SocketTable();
    step(table, 1n, TcpState.CLOSE, TcpState.LISTEN, server, first);
    step(table, 2n, TcpState.CLOSE, TcpState.LISTEN, other, second);
    step(table, 9n, TcpState.LISTEN, TcpState.SYN_RECV);
    assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', undefined]);
    step(table, 9n, TcpState.ESTABLISHED, FIN_WAIT1, other);
    assert.deepEqual(step(table, 9n, 5, TcpState.CLOSE), ['network.tcp.close', 3]);
  }
});

test('one process with two sockets on one port is named, and of two that listened the one that is left', () => {
  const table = new SocketTable();
  step(table, 1n, TcpState.CLOSE, TcpState.LISTEN, server, '0.0.0.0');
  step(table, 2n, TcpState.CLOSE, TcpState.LISTEN, server, '0.0.0.0');
  step(table, 3n, TcpState.CLOSE, TcpState.LISTEN, other, '0.0.0.0');
  step(table, 3n, TcpState.LISTEN, TcpState.CLOSE, other, '0.0.0.0');
  assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', 1]);
});

test('when who listened has ended, its only heir is named; of several nobody is', () => {
  const early: ProcessState = { pid: 5, createdWallNs: -1n };
  for (const [heirs, named] of [
    [[worker], 4],
    [[worker, early], 4],
    [[worker, other], undefined],
    [[], undefined],
  ] as const) {
    const table = new SocketTable();
    table.follow({
      socket: 1n,
      oldState: TcpState.CLOSE,
      newState: TcpState.LISTEN,
      localAddress: '0.0.0.0',
      localPort: 80,
      wallNs: 5n,
      process: server,
    });
    assert.equal(table.listens(server), true);
    table.ended(
      server,
      heirs.map((heir) => (heir === other ? { ...heir, createdWallNs: 11n } : heir)),
    );
    assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', named]);
    step(table, 9n, TcpState.ESTABLISHED, LAST_ACK, worker);
    assert.deepEqual(step(table, 9n, LAST_ACK, TcpState.CLOSE), ['network.tcp.close', 4]);
  }
});

test('a socket that connects to itself connects once, and accepts nothing', () => {
  const table = new SocketTable();
  step(table, 1n, TcpState.CLOSE, TcpState.LISTEN, server, '0.0.0.0');
  assert.equal(step(table, 9n, TcpState.CLOSE, TcpState.SYN_SENT, client), undefined);
  assert.equal(step(table, 9n, TcpState.SYN_SENT, TcpState.SYN_RECV), undefined);
  assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.connect', 2]);
  assert.deepEqual(step(table, 9n, LAST_ACK, TcpState.CLOSE), ['network.tcp.close', 2]);
});

test('a connection that is refused is a connect that failed, and no close', () => {
  const table = new SocketTable();
  const t = { socket: 9n, localAddress: '127.0.0.1', localPort: 5, wallNs: 0n };
  table.follow({ ...t, oldState: TcpState.CLOSE, newState: TcpState.SYN_SENT, process: client });
  const refused = table.follow({ ...t, oldState: TcpState.SYN_SENT, newState: TcpState.CLOSE, process: undefined });
  assert.deepEqual(refused, { type: 'network.tcp.connect', process: client, failed: true });
});

test('who listened before recording began is named, until its socket is closed', () => {
  const table = new SocketTable();
  table.listening('0.0.0.0:80', server);
  assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', 1]);
  step(table, 1n, TcpState.LISTEN, TcpState.CLOSE, server, '0.0.0.0');
  assert.deepEqual(step(table, 10n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', undefined]);
});

test('what is saved and loaded goes on as before; what 0.1 saved is read', () => {
  const processes: ProcessState[] = [];
  const indexOf = (process: ProcessState) => processes.indexOf(process) + 1 || processes.push(process);
  const table = new SocketTable();
  step(table, 1n, TcpState.CLOSE, TcpState.LISTEN, server, '0.0.0.0');
  table.listening('0.0.0.0:80', server);
  step(table, 8n, TcpState.CLOSE, TcpState.SYN_SENT, client);
  step(table, 9n, TcpState.LISTEN, TcpState.SYN_RECV);
  const saved = table.save((process) => indexOf(process) - 1);
  const again = new SocketTable();
  again.load(saved, processes);
  assert.deepEqual(
    again.save((process) => indexOf(process) - 1),
    saved,
  );
  assert.deepEqual(step(again, 8n, TcpState.SYN_SENT, TcpState.CLOSE), ['network.tcp.connect', 2]);
  assert.deepEqual(step(again, 9n, LAST_ACK, TcpState.CLOSE), ['network.tcp.close', 1]);
  const older = new SocketTable();
  older.load({ owners: [[8n, 0]], listeners: [['0.0.0.0:80', 0]] }, [server]);
  assert.deepEqual(step(older, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', 1]);
  assert.deepEqual(step(older, 8n, LAST_ACK, TcpState.CLOSE), ['network.tcp.close', 1]);
});

const network = {
  type: 'ipv4',
  transport: 'tcp',
  local: { address: '127.0.0.1', port: 80 },
  peer: { address: '127.0.0.9', port: 9 },
} as const;

/** One whose kernel tells who accepts, with a listener and a connection that waits to be taken. */
function waiting(): SocketTable {
  const table = new SocketTable();
  table.tellsAccepts = true;
  step(table, 1n, TcpState.CLOSE, TcpState.LISTEN, server, '0.0.0.0');
  step(table, 9n, TcpState.LISTEN, TcpState.SYN_RECV);
  const place = { localAddress: '127.0.0.1', localPort: 80, wallNs: 0n, process: undefined };
  const states = { oldState: TcpState.SYN_RECV, newState: TcpState.ESTABLISHED };
  assert.equal(table.follow({ socket: 9n, ...states, ...place })?.waits, true);
  table.wait(9n, network);
  return table;
}

test('where the kernel tells who accepts, a connection is told when it is taken, with who took it', () => {
  const table = waiting();
  assert.equal(table.taken(77n, worker), undefined, 'a socket of another family');
  const again = new SocketTable();
  again.tellsAccepts = true;
  again.load(
    table.save(() => 0),
    [server],
  );
  for (const each of [table, again]) {
    assert.equal(each.taken(9n, worker), network);
    assert.equal(each.taken(9n, other), undefined, 'told once');
    // The peer closed it while it waited.
    assert.equal(step(each, 9n, TcpState.ESTABLISHED, 8), undefined);
  }
  assert.equal(table.taken(9n, worker), undefined);
  assert.deepEqual(step(table, 9n, LAST_ACK, TcpState.CLOSE), ['network.tcp.close', 4]);
});

test('a connection that nobody took before it ended is an accept that failed', () => {
  const table = waiting();
  const place = { localAddress: '127.0.0.1', localPort: 80, wallNs: 0n, process: undefined };
  const meaning = table.follow({ socket: 9n, oldState: LAST_ACK, newState: TcpState.CLOSE, ...place });
  assert.deepEqual([meaning?.type, meaning?.failed, meaning?.process?.pid], ['network.tcp.accept', true, 1]);
  assert.equal(table.taken(9n, worker), undefined);
});

test('one that is taken before it is established is told then, with who took it', () => {
  const table = new SocketTable();
  table.tellsAccepts = true;
  step(table, 9n, TcpState.LISTEN, TcpState.SYN_RECV);
  assert.equal(table.taken(9n, worker), undefined);
  assert.deepEqual(step(table, 9n, TcpState.SYN_RECV, TcpState.ESTABLISHED), ['network.tcp.accept', 4]);
});

test('who acts on a connection has taken it, also where that was not told', () => {
  const table = waiting();
  assert.deepEqual(step(table, 9n, TcpState.ESTABLISHED, FIN_WAIT1, worker), ['network.tcp.accept', 4]);
  assert.equal(table.taken(9n, worker), undefined);
  assert.deepEqual(step(table, 9n, 7, TcpState.CLOSE), ['network.tcp.close', 4]);
});
