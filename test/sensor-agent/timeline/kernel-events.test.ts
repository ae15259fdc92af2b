/** Which connections count as Backplane's own, and how processes end. */
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

/** How a process of one or two threads ended, by what the kernel said in this order: `[what, thread, code]`. */
function ended(said: readonly (readonly [string, number, number])[]) {
  const events = new KernelEvents();
  events.named = { userName: () => undefined };
  events.processes.addThread(101, events.processes.ensure(100));
  const place = { position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 }, wallNs: 1n };
  const tell = (name: string, pid: number, values: Record<string, unknown>) =>
    events.follow({ name, pid, flags: 0, values: values as never }, place, undefined, () => true);
  for (const [name, pid, code] of said) tell(name, pid, { code: BigInt(code) });
  const { process } = tell('sched_process_exit', 100, { pid: 100, group_dead: true, comm: 'x' })!;
  return [process!.exitCode, process!.exitSignal];
}

test('a process ended as wait() says it did', () => {
  const exit = (code: number) => code << 8;
  assert.deepEqual(
    ended([
      ['do_group_exit', 100, exit(7)],
      ['do_exit', 100, exit(7)],
    ]),
    [7, undefined],
  );
  assert.deepEqual(
    ended([
      ['do_group_exit', 100, 15],
      ['do_exit', 100, 15],
    ]),
    [undefined, 'SIGTERM'],
  );
  // A worker ends all of them: the first thread is told to end, with the worker's code.
  assert.deepEqual(
    ended([
      ['do_group_exit', 101, exit(5)],
      ['do_exit', 101, exit(5)],
      ['do_group_exit', 100, 9],
      ['do_exit', 100, exit(5)],
    ]),
    [5, undefined],
  );
  // The first thread ends all: the others say so after it.
  assert.deepEqual(
    ended([
      ['do_group_exit', 100, exit(5)],
      ['do_exit', 100, exit(5)],
      ['do_group_exit', 101, 9],
      ['do_exit', 101, exit(5)],
    ]),
    [5, undefined],
  );
  // The first thread has ended before, and then a worker ends the process, or is killed.
  assert.deepEqual(
    ended([
      ['do_exit', 100, 0],
      ['do_group_exit', 101, exit(3)],
      ['do_exit', 101, exit(3)],
    ]),
    [3, undefined],
  );
  assert.deepEqual(
    ended([
      ['do_exit', 100, 0],
      ['do_group_exit', 101, 9],
      ['do_exit', 101, 9],
    ]),
    [undefined, 'SIGKILL'],
  );
  // Each thread for itself.
  assert.deepEqual(
    ended([
      ['do_exit', 100, exit(4)],
      ['do_exit', 101, exit(6)],
    ]),
    [4, undefined],
  );
  // What the first thread said was lost: a worker's end is not the process's.
  assert.deepEqual(ended([['do_exit', 101, exit(6)]]), [undefined, undefined]);
});

/** What a kernel tells of processes 100, with thread 101, and what is told of them then. */
function followed(said: readonly (readonly [string, number, Record<string, unknown>])[], pid = 100) {
  const events = new KernelEvents();
  events.processes.follows = { users: true, cgroups: true };
  events.processes.adopt({ pid: 100, uid: 0, cgroup: '/a', workingDirectory: '/', threads: [101] }, 1n);
  const place = { position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 }, wallNs: 1n };
  const tell = (name: string, thread: number, values: Record<string, unknown>) =>
    events.follow({ name, pid: thread, flags: 0, values: values as never }, place, undefined, () => true);
  for (const [name, thread, values] of said) tell(name, thread, values);
  const { process, container } = tell('signal_generate', pid, { sig: 1, pid: 1, comm: 'x', code: 0, result: 0 })!;
  return { user: process?.user?.id, cgroup: process?.cgroup?.path, container: container?.id, of: process?.inferred };
}

const forked = (flags: bigint) => ['task_newtask', 100, { pid: 200, comm: 'x', clone_flags: flags }] as const;
const moved = (pid: number, path: string, root = 0) =>
  ['cgroup_attach_task', 9, { pid, dst_root: root, dst_path: path, comm: 'x' }] as const;
const becomes = (thread: number, user: number) => ['commit_creds', thread, { user }] as const;

test('a process that is moved is in its container from then on, and so is what it forks', () => {
  const id = 'ab'.repeat(32);
  assert.equal(followed([]).container, undefined);
  assert.deepEqual(followed([moved(100, `/docker/${id}`)]).container, id);
  assert.deepEqual(followed([moved(100, `/docker/${id}`, 4)]).container, id);
  assert.equal(followed([moved(100, `/docker/${id}`), moved(100, '/')]).container, undefined);
  assert.deepEqual(followed([moved(100, `/docker/${id}`), forked(17n)], 200).container, id);
  assert.equal(followed([forked(17n), moved(100, `/docker/${id}`)], 200).container, undefined);
  // One thread alone.
  assert.equal(followed([moved(101, `/docker/${id}`)]).container, undefined);
  // Begun elsewhere.
  assert.equal(followed([moved(100, `/docker/${id}`), forked(17n | 0x2_0000_0000n)], 200).container, undefined);
  const transferred = followed([['cgroup_transfer_tasks', 9, { pid: 100, dst_root: 0, dst_path: '/b', comm: 'x' }]]);
  assert.equal(transferred.cgroup, '/b');
});

test('a process is the user that it became, and so is what it forks', () => {
  assert.equal(followed([]).user, 0);
  assert.equal(followed([becomes(100, 65_534)]).user, 65_534);
  assert.deepEqual(followed([becomes(100, 65_534), forked(17n)], 200).user, 65_534);
  assert.deepEqual(followed([forked(17n)], 200).of, ['working_directory']);
  assert.equal(followed([forked(17n), becomes(100, 65_534)], 200).user, 0);
  // As in /proc.
  assert.equal(followed([becomes(101, 65_534)]).user, 0);
});
