import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { TOPICS } from '../../src/wire/event.js';

const idOf = (filter: string, topics: string[] = [], includeSelf = false): bigint =>
  compilePredicate({ topics, filter, includeSelf }).id;

const EQUAL: [string, string, string][] = [
  ['process.pid==1', ' ( process.pid  ==  (1) )', 'process.pid == 1'],
  ['1 == process.pid', 'process.pid == 0x1', 'process.pid == 1'],
  ['1024 < network.peer.port', 'network.peer.port > 1024', 'network.peer.port > 1024'],
  ['process.pid > process.parent_pid', 'process.parent_pid < process.pid', 'process.parent_pid < process.pid'],
  [
    'process.pid == 2 || (process.pid == 1 || process.pid == 2)',
    '(process.pid == 1) || process.pid == 2',
    'process.pid == 1 || process.pid == 2',
  ],
  [
    'process.pid == 2 && process.comm == "a" || process.pid == 1',
    "process.pid == 1 || (process.comm == 'a' && process.pid == 2)",
    'process.comm == "a" && process.pid == 2 || process.pid == 1',
  ],
  ['process.comm in ["b", "a", "b"]', "process.comm in ['a', 'b']", 'process.comm in ["a", "b"]'],
  [
    'process.command_args.exists(arg, arg == "-c")',
    'process.command_args.exists(y, "-c" == y)',
    'process.command_args.exists(x, x == "-c")',
  ],
  ['!!(process.pid == 1)', 'process.pid == 1', 'process.pid == 1'],
  ['!(!(process.pid == 1) && !(process.pid == 1))', '(process.pid == 1 || process.pid == 1)', 'process.pid == 1'],
  [
    'event.time > timestamp("2026-01-01T02:00:00.500+02:00")',
    'timestamp("2026-01-01T00:00:00.5Z") < event.time',
    'event.time > timestamp("2026-01-01T00:00:00.5Z")',
  ],
  [
    'event.time - process.creation_time < duration("90m")',
    'event.time - process.creation_time < duration("1.5h")',
    'event.time - process.creation_time < duration("1h30m")',
  ],
  [
    'cidr("10.1.2.3/8").contains(network.peer.address)',
    'cidr("::ffff:10.0.0.0/104").contains(network.peer.address)',
    'cidr("10.0.0.0/8").contains(network.peer.address)',
  ],
  ['process.command_args.size() == 1', 'size(process.command_args) == 1', 'size(process.command_args) == 1'],
  ['["a"] == process.command_args', 'process.command_args == ["a"]', 'process.command_args == ["a"]'],
  ['', ' true ', 'true'],
];

test('predicates that mean the same by form have one id and one canonical text', () => {
  for (const [a, b, canonical] of EQUAL) {
    assert.equal(compilePredicate({ topics: [], filter: a, includeSelf: false }).canonical, canonical, a);
    assert.equal(compilePredicate({ topics: [], filter: b, includeSelf: false }).canonical, canonical, b);
    assert.equal(idOf(a), idOf(b));
    assert.equal(idOf(canonical), idOf(a));
  }
});

test('predicates that differ have different ids', () => {
  const filters = [
    'process.pid == 1',
    'process.pid == 2',
    'process.pid != 1',
    'process.pid - 1 - 1 == 0',
    'process.pid - (1 - 1) == 0',
    'process.comm == "1"',
    'process.comm == "1 "',
    'process.comm.contains("a")',
    'process.comm.startsWith("a")',
    '!(process.pid == 1) && process.comm == "a"',
    '!(process.pid == 1 && process.comm == "a")',
    'process.command_args == ["a", "b"]',
    'process.command_args == ["b", "a"]',
  ];
  const ids = new Set(filters.map((filter) => idOf(filter)));
  assert.equal(ids.size, filters.length);
  assert.notEqual(idOf('true', [], true), idOf('true', [], false));
  assert.notEqual(idOf('true', ['process']), idOf('true'));
});

test('topics are a set, and all of them are the same as none', () => {
  assert.equal(idOf('true', ['network', 'process', 'network']), idOf('true', ['process', 'network']));
  assert.equal(idOf('true', Object.keys(TOPICS)), idOf('true'));
  const all = compilePredicate({ topics: [], filter: '', includeSelf: false });
  assert.deepEqual(all.topics, Object.keys(TOPICS).sort());
});

test('ids hold across versions: nodes and brokers compare them', () => {
  assert.equal(idOf('process.pid == 1', ['process']).toString(16), '30a775ade915d41e');
  assert.equal(idOf('', ['process'], true).toString(16), '8517a8d9eaac96f6');
});

const TYPES = ['process.exec', 'process.exit', 'network.tcp.connect', 'host.loss'];

test('types that cannot match are known without an event', () => {
  const cases: [string, string[]][] = [
    ['', TYPES],
    ['event.type == "process.exec"', ['process.exec']],
    ['event.type != "process.exec"', ['process.exit', 'network.tcp.connect', 'host.loss']],
    ['event.type == "process.exec" && process.pid > 5', ['process.exec']],
    ['event.type == "process.exec" || process.pid > 5', TYPES],
    ['!(event.type == "process.exec" || process.pid > 5)', ['process.exit', 'network.tcp.connect', 'host.loss']],
    ['event.type.startsWith("process.") && !event.type.endsWith(".exec")', ['process.exit']],
    ['event.type in ["process.exec", "host.loss"]', ['process.exec', 'host.loss']],
    [
      'event.topic == "network" ? process.pid == 1 : event.type == "process.exit"',
      ['process.exit', 'network.tcp.connect'],
    ],
    ['event.type.matches("^(host|network)[.]")', ['network.tcp.connect', 'host.loss']],
    ['process.pid == 1 ? event.topic == "host" : event.type == "process.exec"', ['process.exec', 'host.loss']],
    ['1 / 0 == 1', []],
    ['1 / 0 == 1 || process.pid == 1', TYPES],
    ['!(1 / 0 == 1 && event.type == "process.exec")', ['process.exit', 'network.tcp.connect', 'host.loss']],
    ['process.command_args.exists(a, event.type == "process.exec")', TYPES],
    ['host.name == "node-2"', TYPES],
  ];
  for (const [filter, expected] of cases) {
    const predicate = compilePredicate({ topics: [], filter, includeSelf: false });
    const possible = TYPES.filter((type) => predicate.mayMatchType(type));
    assert.deepEqual(possible, expected, filter);
  }
  const process = compilePredicate({ topics: ['process'], filter: '', includeSelf: false });
  assert.deepEqual(
    TYPES.filter((type) => process.mayMatchType(type)),
    ['process.exec', 'process.exit'],
  );
});

test('a node that knows its name passes over what is asked of others', () => {
  const options = { topics: [], filter: 'host.name == "node-2"', includeSelf: false };
  assert.equal(compilePredicate({ ...options, hostName: 'node-1' }).mayMatchType('process.exec'), false);
  assert.equal(compilePredicate({ ...options, hostName: 'node-2' }).mayMatchType('process.exec'), true);
  assert.equal(compilePredicate({ ...options, hostName: 'node-1' }).id, compilePredicate(options).id);
});
