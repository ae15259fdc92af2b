/** Predicates: identity, canonical text, and which event types can match. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackplaneError } from '../../src/errors.js';
import { compilePredicate, differenceFrom, type PredicateOptions } from '../../src/subscriptions/predicate.js';
import { TOPICS } from '../../src/wire/event/event.js';

const idOf = (filter: string, topics: string[] = [], includeSelf = false): bigint =>
  compilePredicate({ topics, filter, includeSelf }).id;

const EQUAL: [string, string, string][] = [
  ['process.commandArgs == []', '[] == process.command_args', 'process.command_args == []'],
  ['has(process.creationTime)', 'has(process.creation_time)', 'has(process.creation_time)'],
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

test('predicates of the same meaning by form have one id and one canonical text', () => {
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

test('topics are a set, and naming all of them is the same as naming none', () => {
  assert.equal(idOf('true', ['network', 'process', 'network']), idOf('true', ['process', 'network']));
  assert.equal(idOf('true', Object.keys(TOPICS)), idOf('true'));
  const all = compilePredicate({ topics: [], filter: '', includeSelf: false });
  assert.deepEqual(all.topics, Object.keys(TOPICS).sort());
});

test('ids stay the same across versions, since nodes and brokers compare them', () => {
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
    // What no event of a type has reads as zero on every one of them.
    ['network.peer.port == 443', ['network.tcp.connect']],
    ['network.peer.port == 0', TYPES],
    ['has(notice.reason) || has(network.peer)', ['network.tcp.connect', 'host.loss']],
    ['event.type == "process.exec" && file.path != ""', []],
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

test('a node that knows its name skips predicates for other nodes', () => {
  const options = { topics: [], filter: 'host.name == "node-2"', includeSelf: false };
  assert.equal(compilePredicate({ ...options, hostName: 'node-1' }).mayMatchType('process.exec'), false);
  assert.equal(compilePredicate({ ...options, hostName: 'node-2' }).mayMatchType('process.exec'), true);
  assert.equal(compilePredicate({ ...options, hostName: 'node-1' }).id, compilePredicate(options).id);
});

test('for an id that does not fit its predicate, the differing part is named', () => {
  const { spec } = compilePredicate({
    topics: ['process'],
    filter: 'process.pid == 1',
    includeSelf: false,
    fields: ['type'],
  });
  const cases: [Partial<PredicateOptions>, string | undefined][] = [
    [{ includeSelf: true }, 'include_self was true'],
    [{ filter: '' }, 'filter was not given'],
    [{ fields: [] }, 'fields were not given'],
    [{ topics: ['network', 'process'] }, 'topics were network, process'],
    [{ topics: [] }, 'topics were not given'],
    [{ filter: 'process.pid == 2' }, undefined],
    [{ topics: ['network'], includeSelf: true }, undefined],
  ];
  for (const [other, expected] of cases) {
    const { id } = compilePredicate({ ...spec, ...other });
    assert.equal(differenceFrom(spec, id), expected);
  }
});

const IMPOSSIBLE: readonly (readonly [readonly string[], string, string])[] = [
  [[], 'event.type == "exec"', '"exec" fits no event type, did you mean "process.exec"?'],
  [[], '"exec" == event.type && process.pid > 1', '"exec" fits no event type, did you mean "process.exec"?'],
  [[], '!(event.type != "execve")', '"execve" fits no event type, did you mean "process.exec"?'],
  [[], 'event.type in ["connect", "acept"]', '"connect" fits no event type, did you mean "network.tcp.connect"?'],
  [[], 'event.type == "acept"', '"acept" fits no event type, did you mean "network.tcp.accept"?'],
  [[], 'event.type.startsWith("proces.")', '"proces." fits no event type, did you mean "process."?'],
  [[], 'event.type.startsWith("exec")', '"exec" fits no event type, did you mean "process.exec"?'],
  [[], 'event.type.endsWith(".exce")', '".exce" fits no event type, did you mean "process.exec"?'],
  [[], 'event.type.contains("tcp.conect")', '"tcp.conect" fits no event type, did you mean "network.tcp.connect"?'],
  [[], 'event.type.startsWithAny(["proces.", "exec"])', '"proces." fits no event type, did you mean "process."?'],
  [['network'], 'event.topic.containsAny(["file"])', '"file" is of the topic file, and only network is asked for'],
  [[], 'event.type.matches("^exec$")', '"^exec$" fits no event type, did you mean "process.exec"?'],
  [[], 'event.type == "Process.Exec"', '"Process.Exec" fits no event type, did you mean "process.exec"?'],
  [[], 'event.type == "exec" ? process.pid > 1 : false', '"exec" fits no event type, did you mean "process.exec"?'],
  [[], 'event.topic == "proces"', '"proces" fits no event topic, did you mean "process"?'],
  [[], 'event.type == "xxxxxxxxxxxx"', '"xxxxxxxxxxxx" fits no event type ("backplane topics" lists them)'],
  [['file'], 'event.type == "xxxxxxxxxxxx"', '"xxxxxxxxxxxx" fits no event type (known: file.open, file.unlink,'],
  [
    ['network'],
    'event.type == "process.exec"',
    '"process.exec" is of the topic process, and only network is asked for',
  ],
  [['network'], 'event.topic == "file"', '"file" is of the topic file, and only network is asked for'],
  [['process'], 'network.peer.port == 443', 'it is not true of any event type of the topic process'],
  [[], 'event.type == "process.exec" && event.topic == "host"', 'it is not true of any event type of any topic'],
  [[], 'event.type + "" == "exec"', 'it is not true of any event type of any topic'],
  [[], 'false', 'it is not true of any event type of any topic'],
];

test('a filter that no event type can match is refused, with the probably intended name', () => {
  for (const [topics, filter, problem] of IMPOSSIBLE) {
    assert.throws(
      () => compilePredicate({ topics, filter, includeSelf: false, refuseImpossible: true }),
      (error: BackplaneError) =>
        error.code === 'filter_invalid' && error.message.startsWith(`filter: no event can match: ${problem}`),
      filter,
    );
    // A node that is told one by a broker of another version evaluates it: it matches nothing.
    assert.equal(compilePredicate({ topics, filter, includeSelf: false }).mayMatchType('process.exec'), false);
  }
});

test('a filter that some event type can match is accepted, whatever else it names', () => {
  for (const filter of [
    'event.type in ["exec", "process.fork"]',
    'event.type != "exec"',
    'host.name == "nobody"',
    '',
  ]) {
    compilePredicate({ topics: [], filter, includeSelf: false, refuseImpossible: true });
  }
});

test('who asks for the same, word for word, shares one predicate; who asks for anything else does not', () => {
  const asked: PredicateOptions = { topics: ['process'], filter: 'process.pid == 1', includeSelf: false };
  const one = compilePredicate(asked);
  assert.equal(compilePredicate({ ...asked, topics: ['process'] }), one);
  const others: Partial<PredicateOptions>[] = [
    { topics: [] },
    { filter: 'process.pid == 2' },
    { includeSelf: true },
    { fields: ['process.pid'] },
    { conjunct: 'process.pid < 9' },
    { hostName: 'a' },
    { documents: ['alert'] },
  ];
  for (const other of others) assert.notEqual(compilePredicate({ ...asked, ...other }), one, JSON.stringify(other));
});
