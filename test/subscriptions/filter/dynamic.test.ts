/** Filters over any JSON: another type is no value, and no value is no match. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import type { BusEvent } from '../../../src/wire/event/event.js';
import type { JsonValue } from '../../../src/wire/json-value.js';

const BODY: JsonValue = {
  version: '1.4.2',
  count: 5,
  ratio: 0.5,
  large: 2 ** 60,
  ok: true,
  nothing: null,
  tags: ['prod', 'eu'],
  mixed: ['a', 1],
  deployId: 'x',
  'content-type': 'json',
  nested: { list: [{ name: 'first' }, { name: 'second' }], in: 'keyword' },
};

const matches = (filter: string, body: JsonValue = BODY) => matchesBody(filter, body);

function matchesBody(filter: string, body: JsonValue | undefined): boolean {
  const { documents } = compilePredicate({ topics: [], documents: ['app.*'], filter, includeSelf: false });
  const app = { id: 'id-1', source: 'ci', subject: 'web', body };
  const event: BusEvent = {
    ...{ type: 'com.example.deployed', topic: 'app.deploy', node: '@ci', wallNs: 1n, app },
    position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 },
  };
  return documents!.matches(event);
}

for (const filter of [
  'app.body.version == "1.4.2"',
  '"1.4.2" == app.body.version',
  'app.body.version.startsWith("1.") && app.body.version.matches("^1[.]4")',
  'app.body.count == 5 && app.body.count + 1 > 5 && app.body.count in [4, 5]',
  'app.body.ok',
  '!(app.body.count == 6)',
  'app.body.ok ? app.body.version == "1.4.2" : false',
  '(app.body.ok ? app.body.version : "") == "1.4.2"',
  '"prod" in app.body.tags && app.body.tags.exists(tag, tag == "eu")',
  'app.body.tags[1] == "eu" && app.body.nested.list[1].name == "second"',
  'app.body["content-type"] == "json" && app.body["nested"]["in"] == "keyword"',
  'app.body.deployId == "x"',
  'size(app.body.tags) == 2 && size(app.body.nested) == 2 && app.body.version.size() == 5',
  'has(app.body.version) && has(app.body["content-type"]) && !has(app.body.nothing) && !has(app.body.other)',
  'app.id == "id-1" && app.type == "com.example.deployed" && app.source == "ci" && app.subject == "web"',
  'host.name == "@ci" && event.topic == "app.deploy"',
  'true || app.body.count == "5"',
]) {
  test(`matches: ${filter}`, () => {
    assert.ok(matches(filter));
    const again = compilePredicate({ topics: [], documents: ['app.*'], filter, includeSelf: false }).canonical;
    assert.ok(matches(again), again);
    assert.equal(
      compilePredicate({ topics: [], documents: ['app.*'], filter: again, includeSelf: false }).canonical,
      again,
    );
  });
}

for (const filter of [
  'app.body.count == "5"',
  'app.body.count != "5"',
  '!(app.body.count == "5")',
  'app.body.ratio == 0',
  'app.body.ratio != 0',
  'app.body.large > 1',
  'app.body.missing != "x"',
  'app.body.version.missing == "x"',
  'app.body.nothing == "x"',
  'app.body.tags == ["prod"]',
  '"a" in app.body.mixed',
  'app.body.count',
  'size(app.body.count) == 1',
  'app.body.tags[7] == "x"',
  'app.body.constructor != "x" || app.body.__proto__ != "x" || app.body.toString != "x"',
  'process.pid == 5',
]) {
  test(`does not match: ${filter}`, () => assert.ok(!matches(filter)));
}

test('a body of one value is compared itself; none matches nothing', () => {
  assert.ok(matches('app.body == "text"', 'text') && matches('app.body == 5', 5) && matches('app.body', true));
  assert.ok(!matchesBody('app.body == "text"', undefined) && !matchesBody('has(app.body)', undefined));
});

for (const [filter, message] of [
  ['app.body.a == app.body.b', /column 12: "==" needs a value of a known type on one side/],
  ['app.body.a', undefined],
  ['app.body.a == 1.5', /numbers with a fraction/],
  ['app.body.a > duration("5s")', /cannot compare/],
  ['app.body.tags[app.body.at] == "x"', /must be a name in quotes or a number from 0/],
  ['app.bodyy.a == 1', /unknown field "app.bodyy.a"/],
  ['(app.body.ok ? app.body.a : app.body.b) == "x"', /must be of a known type/],
] as const) {
  test(`checked: ${filter}`, () => {
    if (message === undefined) assert.ok(!matches(filter));
    else assert.throws(() => matches(filter), message);
  });
}

test('no event of the kernel matches, and where nothing else is asked for that is said', () => {
  const predicate = compilePredicate({
    topics: ['process'],
    documents: ['app.*'],
    filter: 'app.body.a == 1',
    includeSelf: false,
  });
  assert.ok(!predicate.mayMatchType('process.exec'));
  assert.deepEqual(predicate.equalities, []);
  assert.throws(
    () =>
      compilePredicate({ topics: ['process'], filter: 'app.body.a == 1', includeSelf: false, refuseImpossible: true }),
    /no event can match/,
  );
});
