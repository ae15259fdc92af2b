/** Random filters as conditions on raw entries and as kernel filters: never narrower than the filter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { KERNEL_FILTER_BYTES_MAX } from '../../../src/limits.js';
import { FIELDS } from '../../../src/subscriptions/filter/schema.js';
import { compilePredicate, type Predicate } from '../../../src/subscriptions/predicate.js';
import { CATALOGUE, type RawRef } from '../../../src/subscriptions/pushdown/catalogue.js';
import { kernelFilter } from '../../../src/subscriptions/pushdown/kernel-filter.js';
import { ALWAYS, type RawExpr, type RawField } from '../../../src/subscriptions/pushdown/raw-expr.js';
import type { BusEvent } from '../../../src/wire/event/event.js';
import { event, filter, PLAIN, written } from '../../harness/filters/grammar.js';
import { type Entry, kernelAccepts } from '../../harness/filters/kernel-language.js';
import { heldValue, holds, rawEvent, rawExpr, rawFilter } from '../../harness/filters/raw-filters.js';
import { runs } from '../../harness/runs.js';

const compiled = (text: string): Predicate => compilePredicate({ topics: [], filter: text, includeSelf: true });

/** What the raw entry of an event holds, by the catalogue. */
function valueIn(subject: BusEvent): (ref: RawRef) => bigint {
  const names = new Map([...CATALOGUE.get(subject.type)!.raw].map(([name, ref]) => [ref, name]));
  return (ref) => {
    const field = FIELDS.get(names.get(ref)!);
    assert.ok(field && 'read' in field && field.type === 'int');
    return BigInt(field.read(subject));
  };
}

function checkForm(text: string, subject: BusEvent): void {
  const predicate = compiled(text);
  const { expr, exact } = predicate.rawForm(subject.type);
  const raw = holds(expr, valueIn(subject));
  const matches = predicate.matches(subject);
  assert.ok(raw || !matches, `${text} matches, but its raw form does not hold`);
  if (exact) assert.equal(raw, matches, text);
}

test('a raw condition holds wherever its filter matches, and nowhere else where it is exact', () => {
  const seen = { exact: 0, held: 0, refused: 0 };
  fc.assert(
    fc.property(rawFilter, rawEvent, (text, subject) => {
      checkForm(text, subject);
      const { expr, exact } = compiled(text).rawForm(subject.type);
      if (exact && expr.kind !== 'constant') seen.exact += 1;
      if (holds(expr, valueIn(subject))) seen.held += 1;
      else seen.refused += 1;
    }),
    { numRuns: runs(4_000) },
  );
  // The property would be empty if everything were widened.
  assert.ok(seen.exact > 100 && seen.held > 700 && seen.refused > 700, JSON.stringify(seen));
});

test('the raw condition of an arbitrary filter, too, holds wherever the filter matches', () => {
  const known = event.filter((subject) => CATALOGUE.has(subject.type));
  fc.assert(
    fc.property(filter, known, (term, subject) => {
      // A pid in the raw entry is the event's own: grammar.ts also makes events without a process.
      if (subject.process) checkForm(written(term, PLAIN), subject);
    }),
    { numRuns: runs(1_000) },
  );
});

const LAYOUT: Readonly<Record<string, RawField>> = Object.fromEntries(
  [1, 2, 4, 8].flatMap((bytes) =>
    [true, false].map((signed) => [
      `${signed ? 's' : 'u'}${bytes * 8}`,
      { kind: 'int', type: 'x', sizeBytes: bytes, elementBytes: bytes, signed },
    ]),
  ),
);
const FORMAT = { field: (name: string) => LAYOUT[name] };
const REFS = Object.entries(LAYOUT).map(([name, field]) => ({ ref: { field: name }, field }));
const KERNEL_FIELDS = { ...LAYOUT, common_type: { sizeBytes: 2, signed: false } };
const entry: fc.Arbitrary<Entry> = fc.record(
  Object.fromEntries(REFS.map(({ ref, field }) => [ref.field, heldValue(field.sizeBytes, field.signed)])),
);

test('a kernel filter passes every entry that a condition holds on, and no more unless it was widened', () => {
  const seen = { equal: 0, wide: 0 };
  fc.assert(
    fc.property(
      fc.array(rawExpr(REFS), { minLength: 1, maxLength: 3 }),
      fc.array(entry, { minLength: 4 }),
      (exprs, entries) => {
        const text = kernelFilter(exprs, FORMAT);
        if (text !== undefined) assert.ok(text.length <= KERNEL_FILTER_BYTES_MAX);
        for (const each of entries) {
          const wanted = exprs.some((expr) => holds(expr, (ref) => each[ref.field]!));
          const passes = text === undefined || kernelAccepts(text, KERNEL_FIELDS, { ...each, common_type: 7n });
          assert.ok(passes || !wanted, `${text} keeps back ${inspect(each)}`);
          if (passes === wanted) seen.equal += 1;
          else seen.wide += 1;
        }
      },
    ),
    { numRuns: runs(1_500) },
  );
  assert.ok(seen.equal > 20 * seen.wide, JSON.stringify(seen));
});

test('conditions that the kernel cannot express or has no room for are widened', () => {
  const list = (count: number): RawExpr => ({
    kind: 'in',
    ref: { field: 's32' },
    values: Array.from({ length: count }, (_, at) => BigInt(at * 2)),
    negated: false,
  });
  assert.equal(kernelFilter([list(3)], FORMAT), 's32 == 0 || s32 == 2 || s32 == 4');
  assert.equal(kernelFilter([list(500)], FORMAT), 's32 >= 0 && s32 <= 998');
  const element: RawExpr = { kind: 'compare', ref: { field: 's32', element: 1 }, operator: '==', value: 1n };
  assert.equal(kernelFilter([element], FORMAT), undefined);
  assert.equal(kernelFilter([{ kind: 'and', operands: [element, list(1)] }], FORMAT), 's32 == 0');
  assert.equal(kernelFilter([{ kind: 'or', operands: [element, list(1)] }], FORMAT), undefined);
  assert.equal(kernelFilter([list(1), ALWAYS], FORMAT), undefined);
  assert.equal(kernelFilter([], FORMAT), 'common_type == 0');
  const text = { field: () => ({ ...LAYOUT.u64!, type: 'const char *' }) };
  assert.equal(kernelFilter([list(1)], text), undefined, 'the kernel takes no number for what it calls a string');
  const unlike = Array.from({ length: 300 }, (_, at): RawExpr => {
    const bound = (name: string): RawExpr => ({
      kind: 'compare',
      ref: { field: name },
      operator: '<',
      value: BigInt(at),
    });
    return { kind: 'and', operands: [bound('s32'), bound('u64')] };
  });
  assert.equal(kernelFilter(unlike, FORMAT), undefined);
});

test('a condition repeated within itself is widened before it grows', () => {
  let text = 'signal.number == 1';
  for (let depth = 0; depth < 24; depth += 1) text = `(${text}) ? signal.code == 1 : signal.code == 2`;
  assert.doesNotThrow(() => compiled(text).rawForm('process.signal'));
});
