/** The index finds the predicates that match an event. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { PredicateIndex } from '../../src/subscriptions/predicate-index.js';
import { topicOf } from '../../src/wire/event/event.js';
import { range } from '../harness/broker/harness.js';
import { filter as anyFilter, event, PLAIN, written } from '../harness/filters/grammar.js';
import { runs } from '../harness/runs.js';

const pid = fc.integer({ min: 0, max: 6 });
const word = fc.constantFrom('', 'sh', 'cat', 'bash', '/bin/sh');
const equality = fc.oneof(
  pid.map((value) => `process.pid == ${value}`),
  pid.map((value) => `${value} == process.parent_pid`),
  fc.array(pid, { minLength: 1, maxLength: 4 }).map((values) => `process.pid in [${values.join(', ')}]`),
  word.map((value) => `process.comm == ${JSON.stringify(value)}`),
  word.map((value) => `process.executable.path in [${JSON.stringify(value)}, "x"]`),
  pid.map((value) => `syscall.arg0 == ${value}`),
  fc.constantFrom('syscall.arg0 == 9223372036854775807', 'process.pid == 9007199254740993', 'process.pid != 3'),
);
const other = anyFilter.map((term) => written(term, PLAIN));
const predicateText = fc.oneof(
  equality,
  fc.tuple(equality, equality).map(([a, b]) => `${a} && ${b}`),
  fc.tuple(equality, other).map(([a, b]) => `${a} && (${b})`),
  fc.tuple(equality, equality).map(([a, b]) => `${a} || ${b}`),
  other,
);
const seen = fc.tuple(event, pid, pid, word).map(([each, own, parent, comm]) => ({
  ...each,
  ...(each.process ? { process: { ...each.process, pid: own, parentPid: parent, comm } } : {}),
}));

test('an index finds exactly the matching predicates, whatever they ask for', () => {
  let matches = 0;
  fc.assert(
    fc.property(
      fc.array(predicateText, { minLength: 1, maxLength: 40 }),
      fc.array(seen, { minLength: 1, maxLength: 8 }),
      (texts, events) => {
        const predicates = texts.flatMap((filter) => {
          try {
            return [compilePredicate({ topics: [], filter, includeSelf: true })];
          } catch {
            // Some are over the bounds once they are joined.
            return [];
          }
        });
        const index = new PredicateIndex(predicates);
        for (const each of events) {
          const one = { ...each, topic: topicOf(each.type) };
          const expected = predicates.filter((predicate) => predicate.matches(one));
          const found = index.match(one);
          assert.deepEqual(new Set(found), new Set(expected));
          assert.equal(found.length, expected.length);
          matches += found.length;
        }
      },
    ),
    { numRuns: runs(400) },
  );
  assert.ok(matches > 100, `${matches} matches`);
});

test('of two constants that filters compare with, the one in which they differ finds those that may match', () => {
  let tried = 0;
  const predicates = range(0, 100).map((number) => {
    const filter = `process.user.id == 0 && process.executable.path == "/x/${number}"`;
    const predicate = compilePredicate({ topics: [], filter, includeSelf: true });
    const matches: typeof predicate.matches = (event) => {
      tried++;
      return predicate.matches(event);
    };
    return { ...predicate, matches };
  });
  const process = { pid: 1, user: { id: 0 }, executable: { path: '/x/7', name: '7' } };
  const position = { epoch: 1, timeNs: 1n, lane: 0, tie: 0 };
  const found = new PredicateIndex(predicates).match({
    ...{ type: 'process.exec', topic: 'process', position, wallNs: 1n, process },
  });
  assert.deepEqual(found, [predicates[7]]);
  assert.equal(tried, 1);
});
