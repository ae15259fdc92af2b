/** From where frames are complete, in few steps: of no predicate less than it is, and of none that does not hold. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Hold, HoldSteps } from '../../../../src/broker/nodes/asked/holds.js';
import { Wanted } from '../../../../src/broker/nodes/asked/wanted.js';
import { HOLD_STEPS_MAX, HOLDS_REFUSED_MAX } from '../../../../src/limits.js';
import { comparePositions, type Position } from '../../../../src/wire/position.js';
import { runs } from '../../../harness/runs.js';

const at = (timeNs: number): Position => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
const specOf = (id: bigint) => ({ id, topics: ['process'], filter: '', includeSelf: false, fields: [] });

interface Asked {
  readonly since: number;
  /** Undefined: it does not hold. */
  readonly heldAt: number | undefined;
}

function stepsOf(asked: readonly Asked[]) {
  const ids = asked.map((_, index) => BigInt(index + 1));
  const wanted = new Wanted(ids.map(specOf), new Map(ids.map((id, index) => [id, asked[index]!.since])));
  const holds = new Map<bigint, Hold>();
  for (const [index, { heldAt }] of asked.entries()) {
    if (heldAt !== undefined) holds.set(ids[index]!, { position: at(heldAt), first: at(heldAt) });
  }
  const steps = HoldSteps.of(holds, wanted);
  // As others read it.
  return { holds, wanted, steps: HoldSteps.read(JSON.parse(JSON.stringify(steps.toValue()))) };
}

const lengthOf = (steps: HoldSteps) => (steps.toValue().steps as object[]).length;

test('steps are never less than what each predicate has, and what does not hold is not in them', () => {
  const heldAt = fc.option(fc.nat(60), { nil: undefined, freq: 6 });
  const asked = fc.array(fc.record({ since: fc.nat(40), heldAt }), { maxLength: 60 });
  fc.assert(
    fc.property(asked, fc.nat(5), (all, later) => {
      const { holds, steps } = stepsOf(all);
      assert.ok(lengthOf(steps) <= HOLD_STEPS_MAX);
      for (const [index, { since }] of all.entries()) {
        const id = BigInt(index + 1);
        const own = holds.get(id);
        const told = steps.get(id, since);
        assert.equal(told === undefined, own === undefined, `${id}`);
        assert.equal(steps.get(id, undefined), undefined);
        // Claims that ended make it seem that it was asked for later.
        for (const hold of [told, steps.get(id, since + later)]) {
          assert.ok(hold === undefined || own === undefined || comparePositions(hold.position, own.position) >= 0);
        }
        assert.ok(told === undefined || comparePositions(told.first, own!.first) <= 0);
      }
      const last = Math.max(-1, ...all.filter((each) => each.heldAt !== undefined).map(({ since }) => since));
      assert.equal(steps.get(99n, last + 1), undefined, 'what is asked for later holds later');
    }),
    { numRuns: runs(500) },
  );
});

test('what one broker said another one says again, also where claims ended since', () => {
  const asked = fc.array(fc.record({ since: fc.nat(40), heldAt: fc.nat(60) }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(asked, fc.nat(50), (all, later) => {
      const { wanted, steps } = stepsOf(all);
      const held = wanted.predicates.flatMap(({ id }) => {
        const hold = steps.get(id, wanted.since(id));
        return hold === undefined ? [] : [[id, hold] as const];
      });
      const since = new Map(held.map(([id]) => [id, wanted.since(id)! + later]));
      const taken = new Wanted(
        held.map(([id]) => specOf(id)),
        since,
      );
      const said = HoldSteps.read(JSON.parse(JSON.stringify(HoldSteps.of(new Map(held), taken).toValue())));
      for (const [id] of held) assert.ok(said.get(id, since.get(id)), `${id}, ${later} changes later`);
    }),
    { numRuns: runs(500) },
  );
});

test('what begins to hold is among what is told as new', () => {
  const heldAt = fc.option(fc.nat(60), { nil: undefined });
  const asked = fc.array(fc.record({ since: fc.nat(20), before: heldAt, after: heldAt }), { maxLength: 30 });
  fc.assert(
    fc.property(asked, (all) => {
      const [before, after] = [
        stepsOf(all.map((each) => ({ since: each.since, heldAt: each.before }))),
        stepsOf(all.map((each) => ({ since: each.since, heldAt: each.after }))),
      ];
      const added = after.steps.newSince(before.steps, after.wanted);
      for (const [index, { since }] of all.entries()) {
        const id = BigInt(index + 1);
        const begins = before.steps.get(id, since) === undefined && after.steps.get(id, since) !== undefined;
        assert.ok(!begins || added.has(id), `${id}`);
      }
    }),
    { numRuns: runs(300) },
  );
  const same = stepsOf(Array.from({ length: 50 }, (_, since) => ({ since, heldAt: since })));
  assert.equal(same.steps.newSince(same.steps, same.wanted).size, 0);
});

test('what was told is enough where something is not wanted any more, and not where less holds or more is wanted', () => {
  const heldAt = fc.option(fc.nat(60), { nil: undefined, freq: 6 });
  const asked = fc.array(fc.record({ since: fc.nat(20), heldAt, goes: fc.boolean() }), { maxLength: 30 });
  const wantedOf = (all: readonly (readonly [id: bigint, since: number])[]) =>
    new Wanted(
      all.map(([id]) => specOf(id)),
      new Map(all),
    );
  fc.assert(
    fc.property(asked, (all) => {
      const { steps, holds } = stepsOf(all);
      const left = all.flatMap(({ since, goes }, index) => (goes ? [] : [[BigInt(index + 1), since] as const]));
      assert.ok(steps.isEnoughFor(holds, wantedOf(left)));
      for (const [id] of left) {
        const hold = holds.get(id);
        const others = new Map(holds);
        if (hold === undefined) others.set(id, { position: at(0), first: at(0) });
        else others.set(id, { position: at(61), first: hold.first });
        assert.ok(!steps.isEnoughFor(others, wantedOf(left)), 'it holds from later on, or holds now');
        others.delete(id);
        assert.equal(steps.isEnoughFor(others, wantedOf(left)), hold === undefined, 'it does not hold any more');
      }
      const more = new Map(holds).set(99n, { position: at(0), first: at(0) });
      assert.ok(!steps.isEnoughFor(more, wantedOf([...left, [99n, 21]])), 'one that came later');
    }),
    { numRuns: runs(200) },
  );
});

test('where few steps are enough they are exact', () => {
  const { holds, steps } = stepsOf(
    Array.from({ length: 1_000 }, (_, id) => ({ since: id, heldAt: Math.floor(id / 125) })),
  );
  assert.equal(lengthOf(steps), HOLD_STEPS_MAX);
  for (const [id, hold] of holds) assert.deepEqual(steps.get(id, Number(id) - 1)?.position, hold.position);
});

test('what a writer cannot have read is not believed', () => {
  const { steps } = stepsOf([
    { since: 4, heldAt: 1 },
    { since: 9, heldAt: 2 },
  ]);
  const read = HoldSteps.read(steps.toValue(), 9);
  assert.deepEqual([read.get(1n, 4)?.position, read.get(2n, 9), read.get(3n, 5)], [at(1), undefined, undefined]);
});

test('where more do not hold than are named, nothing is said behind them', () => {
  const refused = Array.from({ length: HOLDS_REFUSED_MAX + 1 }, () => ({ since: 2, heldAt: undefined }));
  const { steps } = stepsOf([{ since: 1, heldAt: 5 }, ...refused, { since: 3, heldAt: 6 }]);
  assert.deepEqual([steps.get(1n, 1)?.position, steps.get(2n, 2)], [at(5), undefined]);
  assert.equal(steps.get(BigInt(refused.length + 2), 3), undefined);
  const together = stepsOf([...refused, { since: 2, heldAt: 6 }].map((each) => ({ ...each, since: 2 })));
  assert.equal(lengthOf(together.steps), 0);
});
