/** Nodes selected by their labels: a condition that each node decides by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { isNodeLabel } from '../../../src/subscriptions/request/node-labels.js';
import { checkSubscription } from '../../../src/subscriptions/request/subscription-request.js';

const checked = (nodes: readonly string[], more: object = {}) => checkSubscription({ nodes, ...more }, 1n);

/** Whether a node with these labels has anything to send. */
function asks(nodes: readonly string[], labels: readonly string[], filter = ''): boolean {
  const { spec } = checked(nodes, { filter }).selectors[0]!.predicate;
  const there = compilePredicate({ ...spec, hostName: 'n', hostLabels: labels });
  const event = {
    type: 'process.exec',
    topic: 'process',
    position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 },
    wallNs: 1n,
  };
  return there.mayMatchType('process.exec') && there.matches(event);
}

test('a node answers where it has one of the labels, by globs too', () => {
  const labels = ['zone=b', 'topology.kubernetes.io/region=eu-1'];
  assert.equal(asks(['zone=b'], labels), true);
  assert.equal(asks(['zone=a'], labels), false);
  assert.equal(asks(['zone=a', 'zone=b'], labels), true);
  assert.equal(asks(['zone=?'], labels), true);
  assert.equal(asks(['zone=?'], ['zone=bb']), false);
  assert.equal(asks(['topology.kubernetes.io/region=eu-*'], labels), true);
  assert.equal(asks(['topologyXkubernetes.io/region=eu-*'], labels), false);
  assert.equal(asks(['zone=*'], []), false);
  assert.equal(asks([], labels, '"zone=b" in host.labels && !("zone=a" in host.labels)'), true);
});

test('the filter must hold as well, and a node that has not the label builds nothing for it', () => {
  const { selectors, nodes } = checked(['zone=b'], { filter: 'process.pid == 7' });
  assert.deepEqual(nodes.globs, []);
  const { spec, canonical } = selectors[0]!.predicate;
  assert.equal(canonical, checked([], { filter: canonical }).selectors[0]!.predicate.canonical);
  const without = compilePredicate({ ...spec, hostName: 'n', hostLabels: ['zone=a'] });
  assert.equal(without.mayMatchType('process.exec'), false);
  assert.equal(compilePredicate({ ...spec, hostName: 'n', hostLabels: ['zone=b'] }).mayMatchType('process.exec'), true);
});

test('labels bind every selector, and what a role grants binds both', () => {
  const filters = ['process.pid == 1', 'process.pid == 2'].map((filter, at) => ({ id: `s${at}`, filter }));
  for (const { predicate } of checked(['zone=b'], { selectors: filters }).selectors)
    assert.match(predicate.canonical, /"zone=b" in host\.labels/);
  const scope = { topics: ['process'], nodes: checked([]).nodes, conjunct: 'process.pid > 9', floorNs: undefined };
  const more = { streamsMax: undefined, queriesMax: undefined, notes: [], grants: '' };
  const bound = checkSubscription({ nodes: ['zone=b'] }, 1n, () => ({ ...scope, ...more }));
  assert.deepEqual(bound.topics, ['process']);
  assert.match(bound.selectors[0]!.predicate.canonical, /process\.pid > 9/);
  assert.match(bound.selectors[0]!.predicate.canonical, /zone=b/);
});

test('what is no label, and labels beside names, are refused with what to write', () => {
  for (const odd of ['=b', 'zone=', 'zo ne=b', `zone=${'b'.repeat(64)}`, 'a/b/c=d', 'zone=b=c']) {
    if (odd === 'zone=') assert.doesNotThrow(() => checked([odd]));
    else assert.throws(() => checked([odd]), /a label must be key=value/, odd);
  }
  assert.throws(() => checked(['zone=b', 'node-1']), /is a name and .* a label: .*host\.name == "node-1"/);
  assert.throws(() => checked(Array.from({ length: 4_097 }, (_, at) => `a=${at}`)), /at most/);
  assert.ok(isNodeLabel('zone=b') && !isNodeLabel('zone=*') && !isNodeLabel('zone'));
});
