/** What a filter says of events whose container nobody could name in time: what it may say, whatever the names are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { PredicateIndex } from '../../../src/subscriptions/predicate-index.js';
import { type BusEvent, TOPICS } from '../../../src/wire/event/event.js';
import { event, filter, PLAIN, written } from '../../harness/filters/grammar.js';
import { runs } from '../../harness/runs.js';

const topics = Object.keys(TOPICS);
const predicateOf = (text: string) => compilePredicate({ topics, filter: text, includeSelf: true });

const EVENT: BusEvent = {
  type: 'process.exec',
  topic: 'process',
  position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 },
  wallNs: 1n,
  process: { pid: 7 },
  container: { id: 'c'.repeat(64), unresolved: true },
};

const PASSES = [
  'k8s.namespace.name == "shop"',
  'k8s.namespace.name != "shop"',
  '!(k8s.namespace.name == "kube-system")',
  '!(k8s.namespace.name != "kube-system")',
  'k8s.pod.name.startsWith("web-") && process.pid == 7',
  'k8s.pod.name in ["a", "b"]',
  'has(k8s.pod.name)',
  '!has(container.name)',
  'container.image.tags.exists(tag, tag == "1.27")',
  'size(container.image.name) == 3 ? process.pid == 7 : process.pid == 8',
  'container.name == container.id',
  'container.unresolved',
  'process.pid == 7',
];
const DOES_NOT_PASS = [
  'k8s.namespace.name == "shop" && process.pid == 8',
  '!(k8s.namespace.name == "shop" || process.pid == 7)',
  'container.id == "c" && container.name == "c"',
  'size(container.image.name) == 3 ? process.pid == 9 : process.pid == 8',
  'k8s.namespace.name == "shop" && !container.unresolved',
  'process.pid == 8',
];

test('an event of an unknown container passes what is said of its names, and nothing else', () => {
  for (const text of PASSES) assert.equal(predicateOf(text).matches(EVENT), true, text);
  for (const text of DOES_NOT_PASS) assert.equal(predicateOf(text).matches(EVENT), false, text);
  const named: BusEvent = {
    ...EVENT,
    container: { id: 'c'.repeat(64), name: 'nginx' },
    k8s: { podName: 'web-1', namespaceName: 'shop' },
  };
  assert.equal(predicateOf('k8s.namespace.name == "shop"').matches(named), true);
  assert.equal(predicateOf('k8s.namespace.name != "shop"').matches(named), false);
});

test('where no runtime is asked, a name that nobody knows is empty', () => {
  const alone = { ...EVENT, container: { id: 'c'.repeat(64) } };
  assert.equal(predicateOf('k8s.namespace.name == "shop"').matches(alone), false);
  assert.equal(predicateOf('k8s.namespace.name != "shop"').matches(alone), true);
});

test('many filters that differ in a name are all found', () => {
  const predicates = Array.from({ length: 9 }, (_, at) => predicateOf(`k8s.namespace.name == "n${at}"`));
  const others = [predicateOf('k8s.namespace.name == "n3" && process.pid == 8')];
  assert.equal(new PredicateIndex([...predicates, ...others]).match(EVENT).length, 9);
});

test('what a filter selects with any names it selects without', () => {
  fc.assert(
    fc.property(event, filter, (given, made) => {
      const predicate = predicateOf(written(made, PLAIN));
      // The mark itself is no name.
      const named = { ...given, container: given.container ?? { id: 'c' } };
      if (predicate.canonical.includes('container.unresolved') || !predicate.matches(named)) return;
      const { id } = named.container;
      assert.ok(
        predicate.matches({ ...named, container: { id, unresolved: true }, k8s: undefined }),
        predicate.canonical,
      );
    }),
    { numRuns: runs(400) },
  );
});
