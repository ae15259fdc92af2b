/** Who has which slices: each has one owner at most, shares are even, and nothing moves that need not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Holder, planMoves } from '../../../src/broker/groups/assignment.js';
import { GROUP_SLICES } from '../../../src/limits.js';
import { runs } from '../../harness/runs.js';

/** A group whose members take and give up slices as the plan says. */
class Model {
  readonly members: { readonly id: string; takes: boolean }[] = [];
  readonly owners = new Map<number, string>();
  readonly revoking = new Set<number>();
  /** Slices that a member lost to another, since the last call of settle(). */
  moved = new Set<number>();
  #next = 0;

  constructor(readonly count: number) {}

  join(): string {
    const id = `m${this.#next++}`;
    this.members.push({ id, takes: true });
    return id;
  }

  leave(index: number): void {
    const [left] = this.members.splice(index, 1);
    for (const [slice, owner] of this.owners) if (owner === left?.id) this.#free(slice);
  }

  slicesOf(id: string): number[] {
    return [...this.owners].flatMap(([slice, owner]) => (owner === id ? [slice] : [])).sort((a, b) => a - b);
  }

  step(): boolean {
    const holders = this.members.map(({ id, takes }): Holder => {
      return { id, takes, slices: this.slicesOf(id).filter((slice) => !this.revoking.has(slice)) };
    });
    const { gives, revokes } = planMoves(this.count, holders, this.revoking);
    for (const [slice, id] of gives) {
      assert.equal(this.owners.get(slice), undefined, 'a slice has one owner');
      assert.ok(this.members.some((member) => member.id === id && member.takes));
      this.owners.set(slice, id);
    }
    for (const slice of revokes) {
      assert.ok(this.owners.has(slice) && !this.revoking.has(slice));
      this.revoking.add(slice);
      this.moved.add(slice);
    }
    return gives.size + revokes.length > 0;
  }

  release(slice: number): void {
    if (this.revoking.has(slice)) this.#free(slice);
  }

  /** Until nothing is left to do; returns the slices that members gave up for others. */
  settle(): ReadonlySet<number> {
    for (let steps = 0; this.step() || this.revoking.size > 0; steps++) {
      assert.ok(steps < 1000, 'it comes to rest');
      for (const slice of [...this.revoking]) this.release(slice);
    }
    const { moved } = this;
    this.moved = new Set();
    return moved;
  }

  #free(slice: number): void {
    this.owners.delete(slice);
    this.revoking.delete(slice);
  }
}

const shares = (model: Model) => model.members.map(({ id }) => model.slicesOf(id).length);
const count = fc.constantFrom(...GROUP_SLICES);

test('shares are even, all slices have an owner, and at most so many members are active as there are slices', () => {
  const size = fc.integer({ min: 1, max: 80 });
  fc.assert(
    fc.property(count, size, (slices, members) => {
      const model = new Model(slices);
      for (let joined = 0; joined < members; joined++) {
        model.join();
        model.settle();
      }
      assert.equal(model.owners.size, slices);
      const active = shares(model).filter((share) => share > 0);
      assert.equal(active.length, Math.min(slices, members));
      assert.ok(Math.max(...active) - Math.min(...active) <= 1);
    }),
    { numRuns: runs(40) },
  );
});

test('who joins gets its share and no more moves; of who leaves only its own slices move', () => {
  const change = fc.record({ joins: fc.boolean(), at: fc.nat(100) });
  fc.assert(
    fc.property(count, fc.array(change, { minLength: 1, maxLength: 30 }), (slices, changes) => {
      const model = new Model(slices);
      model.join();
      model.settle();
      for (const { joins, at } of changes) {
        const before = new Map(model.owners);
        const index = at % model.members.length;
        const left = model.members[index]!.id;
        if (joins) {
          const id = model.join();
          const moved = model.settle();
          const own = model.slicesOf(id);
          assert.ok(
            [...moved].every((slice) => own.includes(slice)),
            'others exchange nothing',
          );
          assert.equal(moved.size, Math.floor(slices / model.members.length));
        } else if (model.members.length > 1) {
          model.leave(index);
          assert.equal(model.settle().size, 0);
        }
        for (const [slice, owner] of before) {
          const now = model.owners.get(slice);
          if (owner === now) continue;
          assert.ok(joins ? now === model.members.at(-1)!.id : owner === left, `slice ${slice}: ${owner} to ${now}`);
        }
      }
    }),
    { numRuns: runs(60) },
  );
});

test('in any order of joins, leaves, slow members and releases a slice has one owner, and it comes to even shares', () => {
  const action = fc.oneof(
    fc.constant({ kind: 'join' } as const),
    fc.record({ kind: fc.constant('leave' as const), at: fc.nat(100) }),
    fc.record({ kind: fc.constant('slow' as const), at: fc.nat(100) }),
    fc.constant({ kind: 'step' } as const),
    fc.record({ kind: fc.constant('release' as const), at: fc.nat(100) }),
  );
  fc.assert(
    fc.property(count, fc.array(action, { maxLength: 60 }), (slices, actions) => {
      const model = new Model(slices);
      for (const each of actions) {
        if (each.kind === 'join') model.join();
        else if (each.kind === 'step') model.step();
        else if (each.kind === 'leave' && model.members.length > 0) model.leave(each.at % model.members.length);
        else if (each.kind === 'slow' && model.members.length > 0) {
          const member = model.members[each.at % model.members.length]!;
          member.takes = !member.takes;
        } else if (each.kind === 'release' && model.revoking.size > 0) {
          model.release([...model.revoking][each.at % model.revoking.size]!);
        }
      }
      for (const member of model.members) member.takes = true;
      model.settle();
      const active = shares(model).filter((share) => share > 0);
      assert.equal(model.owners.size, model.members.length === 0 ? 0 : slices);
      if (active.length > 0) assert.ok(Math.max(...active) - Math.min(...active) <= 1);
    }),
    { numRuns: runs(100) },
  );
});

test('who may take no slices keeps those it has, and the others share the rest', () => {
  const slices = [0, 1, 2, 3];
  const { gives, revokes } = planMoves(
    8,
    [
      { id: 'slow', slices, takes: false },
      { id: 'a', slices: [4, 5, 6, 7], takes: true },
      { id: 'b', slices: [], takes: true },
    ],
    new Set(),
  );
  assert.deepEqual(gives, new Map());
  assert.deepEqual(revokes, [6, 7]);
});
