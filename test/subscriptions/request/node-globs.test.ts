/** Globs of node names, and names of nodes and topics. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../../src/errors.js';
import { NAME_BYTES_MAX, NODE_GLOBS_MAX } from '../../../src/limits.js';
import { checkName, checkNamedTopics, checkTopics } from '../../../src/subscriptions/request/names.js';
import { compileNodeGlobs } from '../../../src/subscriptions/request/node-globs.js';
import { TOPICS } from '../../../src/wire/event/event.js';
import { runs } from '../../harness/runs.js';

const refusal = (run: () => unknown): string => {
  try {
    run();
  } catch (cause) {
    assert.ok(cause instanceof BackplaneError && cause.code === 'invalid_argument', String(cause));
    return cause.message;
  }
  assert.fail('not refused');
};

test('globs match names by * and ?, and nothing else', () => {
  const cases: [string[], string, boolean][] = [
    [[], 'anything', true],
    [['node-1'], 'node-1', true],
    [['node-1'], 'node-10', false],
    [['node-1'], 'Node-1', false],
    [['node-?'], 'node-1', true],
    [['node-?'], 'node-', false],
    [['node-?'], 'node-10', false],
    [['*'], '', true],
    [['web-*', 'db-1'], 'db-1', true],
    [['web-*', 'db-1'], 'web-', true],
    [['web-*', 'db-1'], 'db-2', false],
    [['*.eu.*'], 'a.eu.b', true],
    [['*.eu.*'], 'a.us.b', false],
    [['a*a'], 'a', false],
    [['a*a'], 'aa', true],
    [['*ab*ab'], 'xab', false],
    [['*ab*ab'], 'abab', true],
    [['a**?'], 'a', false],
    [['a**?'], 'ab', true],
    [['a.b'], 'axb', false],
  ];
  for (const [globs, name, expected] of cases) {
    assert.equal(compileNodeGlobs(globs).matches(name), expected, `${globs} against ${name}`);
  }
});

test('globs decide as the same pattern written as a regular expression', () => {
  const glob = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), minLength: 1, maxLength: 10 });
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 });
  fc.assert(
    fc.property(glob, name, (pattern, subject) => {
      const source = pattern.replaceAll('.', '[.]').replaceAll('*', '.*').replaceAll('?', '.');
      assert.equal(compileNodeGlobs([pattern]).matches(subject), new RegExp(`^${source}$`).test(subject));
    }),
    { numRuns: runs(3000) },
  );
});

test('globs are a set: order and repetition do not matter', () => {
  assert.deepEqual(compileNodeGlobs(['b', 'a*', 'b']).globs, ['a*', 'b']);
});

test('globs out of bounds are refused', () => {
  const many = Array.from({ length: NODE_GLOBS_MAX + 1 }, (_, i) => `n${i}`);
  assert.equal(
    refusal(() => compileNodeGlobs(many)),
    'node: at most 256 names or globs may be given, got 257',
  );
  assert.equal(
    refusal(() => compileNodeGlobs(['x'.repeat(NAME_BYTES_MAX + 1)])),
    'node: must be at most 253 bytes, got 254',
  );
  assert.equal(
    refusal(() => compileNodeGlobs([''])),
    'node: must not be empty',
  );
  for (const glob of ['-x', 'a b', 'a/b', '[ab]', 'é', 'a\n', '\u001b[2J']) {
    const message = refusal(() => compileNodeGlobs([glob]));
    assert.ok(message.startsWith('node: must consist of letters, digits') && /^[\x20-\x7eé]+$/.test(message), message);
  }
});

test('invalid node names are refused', () => {
  for (const name of ['a', 'node-1', '_x', 'ip-10-0-0-1.eu.internal', 'A', '9', 'x'.repeat(253)]) {
    assert.equal(checkName('node.name', name), name);
  }
  for (const name of ['', '-a', 'a*', 'a b', 'a/..', 'ä', 'x'.repeat(254), 'a\u0000']) {
    assert.match(
      refusal(() => checkName('node.name', name)),
      /^node\.name: must /,
    );
  }
});

test('topics that are born in the broker come only where they are named', () => {
  assert.deepEqual(checkNamedTopics(['alert', 'process', 'app.b', 'app.a', 'app.b']), {
    kernel: ['process'],
    documents: ['alert', 'app.a', 'app.b'],
  });
  assert.deepEqual(checkNamedTopics(['app.a', 'app.*', 'audit']).documents, ['app.*', 'audit']);
  for (const topic of ['app', 'app.', 'app.A', 'app..a', 'app.a*', 'alerts', `app.${'x'.repeat(125)}`]) {
    assert.match(
      refusal(() => checkNamedTopics([topic])),
      /^topic: unknown topic .*\(known: process, .*app\.\*, alert, audit\)$/,
    );
  }
});

test('unknown topics are refused', () => {
  assert.deepEqual(checkTopics(['process', 'network', 'process']), ['network', 'process']);
  assert.deepEqual(checkTopics([]), Object.keys(TOPICS).sort());
  const known = `(known: ${Object.keys(TOPICS).join(', ')})`;
  assert.equal(
    refusal(() => checkTopics(['proces'])),
    `topic: unknown topic "proces", did you mean "process"? ${known}`,
  );
  assert.equal(
    refusal(() => checkTopics(['constructor'])),
    `topic: unknown topic "constructor" ${known}`,
  );
  assert.match(
    refusal(() => checkTopics(Array(65).fill('process'))),
    /^topic: at most 64 may be asked for, got 65$/,
  );
});
