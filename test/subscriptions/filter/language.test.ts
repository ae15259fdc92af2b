/** The filter language agrees with a general CEL evaluator, and with its documentation. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FIELDS } from '../../../src/subscriptions/filter/schema.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import type { BusEvent } from '../../../src/wire/event/event.js';
import { oracleMatches } from '../../harness/filters/oracle.js';

const EXEC: BusEvent = {
  type: 'process.exec',
  topic: 'process',
  wallNs: 1_700_000_000_123_456_789n,
  position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 },
  process: {
    pid: 42,
    parentPid: 1,
    comm: 'sh',
    executable: { path: '/tmp/x', name: 'x' },
    commandArgs: ['sh', '-c', 'echo 😀'],
    workingDirectory: '/root',
    user: { id: 0 },
    creationTimeNs: 1_700_000_000_000_000_000n,
    cgroup: { path: '/system.slice' },
    threadId: 43,
    previousComm: 'bash',
  },
  container: { id: 'abc' },
};
const CONNECT: BusEvent = {
  type: 'network.tcp.connect',
  topic: 'network',
  wallNs: 1_700_000_000_000_000_000n,
  position: { epoch: 1, timeNs: 2n, lane: 0, tie: 0 },
  network: {
    type: 'ipv6',
    transport: 'tcp',
    local: { address: '::1', port: 40_000 },
    peer: { address: '2001:db8::7', port: 443 },
  },
};
const LOSS: BusEvent = {
  type: 'host.loss',
  topic: 'host',
  wallNs: 0n,
  position: { epoch: 1, timeNs: 3n, lane: 65_535, tie: 0 },
  notice: { reason: 'kernel_overrun', message: 'lost', lost: Number.MAX_SAFE_INTEGER, source: 'tracefs' },
};
const SIGNAL: BusEvent = {
  type: 'process.signal',
  topic: 'process',
  wallNs: 0n,
  position: { epoch: 1, timeNs: 4n, lane: 0, tie: 0 },
  signal: { number: 9, name: 'SIGKILL', targetPid: 7, targetComm: 'cat', code: -6, result: 0 },
};

const matches = (filter: string, event: BusEvent): boolean =>
  compilePredicate({ topics: [], filter, includeSelf: true, hostName: 'node-1' }).matches(event);

/** Filter, event, answer. The CEL evaluator must give the same. */
const AS_CEL: [string, BusEvent, boolean][] = [
  ['process.pid == 42 && process.parent_pid == 1', EXEC, true],
  ['process.comm == "sh" && process.previous_comm != "sh"', EXEC, true],
  ['process.executable.path.startsWith("/tmp/") && process.executable.name.endsWith("x")', EXEC, true],
  ['process.working_directory.contains("oo")', EXEC, true],
  ['"-c" in process.command_args', EXEC, true],
  ['"-d" in process.command_args', EXEC, false],
  ['process.pid in [1, 2, 42]', EXEC, true],
  ['process.pid in []', EXEC, false],
  ['process.pid in [process.parent_pid, process.thread_id - 1]', EXEC, true],
  ['process.comm in ["bash", process.comm]', EXEC, true],
  ['process.command_args == ["sh", "-c", "echo 😀"]', EXEC, true],
  ['process.command_args != []', EXEC, true],
  ['[] == [1]', EXEC, false],
  ['process.command_args[2].startsWith("echo")', EXEC, true],
  ['process.command_args[3] == "x" || process.pid == 42', EXEC, true],
  ['process.command_args[3] == "x" && process.pid == 1', EXEC, false],
  ['!(process.command_args[3] == "x")', EXEC, false],
  ['process.command_args[-1] == "x" || process.command_args[9223372036854775807] == "x"', EXEC, false],
  ['size(process.command_args) == 3 && process.command_args.size() == 3', EXEC, true],
  ['size("a😀é") == 3 && "".size() == 0', EXEC, true],
  ['process.command_args.exists(a, a.endsWith("😀"))', EXEC, true],
  ['process.command_args.all(a, size(a) > 1)', EXEC, true],
  ['process.command_args.exists_one(a, a.startsWith("-"))', EXEC, true],
  ['process.command_args.exists_one(a, size(a) == 2)', EXEC, false],
  ['[].exists(a, true) || ![].all(a, false)', EXEC, false],
  ['process.command_args.exists(a, 1 / (size(a) - 2) == 0 || a == "-c")', EXEC, true],
  ['process.command_args.exists(a, 1 / (size(a) - 2) == 7)', EXEC, false],
  ['!process.command_args.exists(a, 1 / (size(a) - 2) == 7)', EXEC, false],
  ['process.command_args.all(a, 1 / (size(a) - 2) == 7)', EXEC, false],
  ['!process.command_args.exists_one(a, 1 / (size(a) - 2) == 7)', EXEC, false],
  ['["/tmp/", "/var/"].exists(p, process.executable.path.startsWith(p))', EXEC, true],
  ['process.comm.matches("^s[hx]$") && process.comm.matches("h")', EXEC, true],
  ['process.comm.matches("^h")', EXEC, false],
  ["process.comm.matches(r'\\w{2}')", EXEC, true],
  ['process.comm + ":" + process.executable.name == "sh:x"', EXEC, true],
  ['(process.pid > 40 ? process.comm : "none") == "sh"', EXEC, true],
  ['process.pid > 50 ? true : process.pid > 41 ? process.comm == "sh" : false', EXEC, true],
  ['process.pid + 1 == 43 && process.pid * 2 == 84 && process.pid - 43 == -1', EXEC, true],
  ['-7 / 2 == -3 && -7 % 2 == -1 && 7 / -2 == -3', EXEC, true],
  ['process.pid / 0 == 1', EXEC, false],
  ['process.pid % 0 == 1 || true', EXEC, true],
  ['!(process.pid / 0 == 1)', EXEC, false],
  ['9007199254740993 - 9007199254740992 == 1', EXEC, true],
  ['9007199254740993 == 9007199254740992', EXEC, false],
  ['notice.lost + 2 == 9007199254740993', LOSS, true],
  ['notice.lost * notice.lost > 0', LOSS, false],
  ['9223372036854775807 + 1 > 0', EXEC, false],
  ['-9223372036854775808 < process.pid', EXEC, true],
  ['0x2A == process.pid', EXEC, true],
  ['event.time > timestamp("2023-11-14T22:13:20Z")', EXEC, true],
  ['event.time - process.creation_time == duration("123456789ns")', EXEC, true],
  ['event.time - process.creation_time < duration("0.2s")', EXEC, true],
  ['process.creation_time + duration("1h30m") > event.time', EXEC, true],
  ['event.time == timestamp("2023-11-15T00:13:20.123456789+02:00")', EXEC, true],
  ['timestamp("9999-12-31T23:59:59Z") + duration("1s") > event.time', EXEC, false],
  ['duration("-1m") < duration("0s") && duration("60s") == duration("1m")', EXEC, true],
  ['signal.code == -6 && signal.name == "SIGKILL" && signal.result == 0', SIGNAL, true],
  ['signal.target_pid in [7] && signal.target_comm == "cat" && signal.number > 8', SIGNAL, true],
  ['network.peer.port == 443 && network.local.port > 1024 && network.type == "ipv6"', CONNECT, true],
  ['process.pid == 0 && process.comm == "" && size(process.command_args) == 0', CONNECT, true],
  ['!process.command_args_missed && process.creation_time == timestamp("1970-01-01T00:00:00Z")', CONNECT, true],
  ['true || process.command_args[0] == ""', CONNECT, true],
  ['"b" > "a" && "ab" > "a" && "" < "a" && "é" > "z"', EXEC, true],
  ['process.pid == 42 // the answer\n && true', EXEC, true],
  ['"""a"b""" == \'a"b\' && r"\\n" == "\\\\n" && "\\u00e9\\x41\\101" == "éAA"', EXEC, true],
  ['(true == false) == false && true != false', EXEC, true],
];

test('the language agrees with the CEL evaluator', () => {
  for (const [filter, event, expected] of AS_CEL) {
    assert.equal(matches(filter, event), expected, filter);
    assert.equal(oracleMatches(filter, event), expected, `the evaluator disagrees: ${filter}`);
  }
});

const OWNED: BusEvent = {
  ...EXEC,
  ...{ type: 'file.chown', topic: 'file' },
  file: { path: '/f', pathMissed: false, descriptor: -100, flags: 0, mode: 0, ownerId: 0, size: 0n },
};

/** What plain CEL does not have, or the oracle's plain objects cannot show. */
const OURS: [string, BusEvent, boolean][] = [
  ['', EXEC, true],
  ['  \n', EXEC, true],
  ['host.name == "node-1" && has(host.name)', EXEC, true],
  ['process.executable.path.startsWithAny(["/usr/", "/tmp/"])', EXEC, true],
  ['process.executable.path.startsWithAny(["/usr/", "tmp"])', EXEC, false],
  ['process.executable.name.endsWithAny(["y", "x"])', EXEC, true],
  ['process.command_args.exists(a, a.containsAny(["nothing", "ech"]))', EXEC, true],
  ['!process.comm.containsAny(["no such", "text"])', EXEC, true],
  ['("ABC" + "ÄÉ").lowerAscii() == "abcÄÉ"', EXEC, true],
  ['process.executable.path.lowerAscii().startsWith("/tmp/")', EXEC, true],
  ['cidr("2001:db8::/32").contains(network.peer.address)', CONNECT, true],
  ['cidr("10.0.0.0/8").contains(network.peer.address)', CONNECT, false],
  ['!cidr("10.0.0.0/8").contains(network.peer.address)', CONNECT, true],
  // No address, no answer: an exec is neither within the block nor outside of it.
  ['cidr("10.0.0.0/8").contains(network.peer.address)', EXEC, false],
  ['!cidr("10.0.0.0/8").contains(network.peer.address)', EXEC, false],
  ['has(process.user.id) && process.user.id == 0', EXEC, true],
  ['process.user.id == 0', CONNECT, true],
  ['has(process.user.id) && process.user.id == 0', CONNECT, false],
  ['has(process.user) && has(process.executable) && has(process.cgroup)', EXEC, true],
  ['has(process.user) || has(process.executable) || has(process.pid)', CONNECT, false],
  ['has(network.peer) && has(network.local) && has(network.peer.port)', CONNECT, true],
  ['has(process.command_args) && has(process.comm) && has(event.time)', EXEC, true],
  ['has(process.command_args) || has(process.command_args_missed)', CONNECT, false],
  ['has(process.creation_time)', EXEC, true],
  ['has(file.owner_id) && file.owner_id == 0 && has(file.size)', OWNED, true],
  ['has(file.group_id) || has(file.mode)', OWNED, false],
  ['has(file.owner_id) || has(file.size)', EXEC, false],
  ['event.time > timestamp("2023-11-14T00:00:00Z") - duration("1d")', EXEC, true],
  // By code point, not by UTF-16 unit.
  ['"😀" > "\uffee"', EXEC, true],
];

test('extensions of CEL work, and unset fields read as defined', () => {
  for (const [filter, event, expected] of OURS) assert.equal(matches(filter, event), expected, filter);
});

test('concatenated text is bounded, so that one event cannot take much memory', () => {
  const long: BusEvent = { ...EXEC, process: { pid: 1, comm: 'x'.repeat(4096) } };
  assert.equal(matches('size(process.comm + process.comm) == 8192', long), true);
  assert.equal(matches('size(process.comm + process.comm + "y") > 0', long), false);
});

test('topics and own processes are part of the predicate', () => {
  const network = compilePredicate({ topics: ['network'], filter: '', includeSelf: false });
  assert.equal(network.matches(CONNECT), true);
  assert.equal(network.matches(EXEC), false);
  assert.equal(network.matches({ ...CONNECT, self: true }), false);
  const own = compilePredicate({ topics: ['network'], filter: '', includeSelf: true });
  assert.equal(own.matches({ ...CONNECT, self: true }), true);
});

test('the documentation names every field, and its examples are valid filters', () => {
  const page = readFileSync(new URL('../../../../docs/filters.md', import.meta.url), 'utf8');
  for (const name of FIELDS.keys()) assert.ok(page.includes(`\`${name}\``), `${name} is not on the page`);
  const examples = /```cel\n([^`]+)```/.exec(page)?.[1]?.trim().split('\n') ?? [];
  assert.ok(examples.length >= 5);
  for (const filter of examples) compilePredicate({ topics: [], filter, includeSelf: false });
});
