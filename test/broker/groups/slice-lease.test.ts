/** What a member may commit of a slice in one epoch: what it was given in it, and never back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SliceLease } from '../../../src/broker/groups/slice-lease.js';
import { runs } from '../../harness/runs.js';

const TIMEOUT_MS = 16_000;
const lease = (epoch = 7, start = 'start') => new SliceLease(3, epoch, start, TIMEOUT_MS, 8);

test('commits never go back, and reach what was given at most, whatever is given and committed in whatever order', () => {
  const action = fc.oneof(
    fc.constantFrom('events' as const, 'gap' as const, 'place' as const, 'own' as const),
    fc.record({ commit: fc.nat(1000) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const own = lease();
      const given: { marked: string; cursor: string; order: number }[] = [];
      let order = 0;
      let open = -1;
      let committed = -1;
      for (const each of actions) {
        const cursor = `cursor-${order}`;
        if (each === 'events' || each === 'place') {
          const marked = each === 'events' ? own.give(cursor, order) : own.mark(cursor);
          given.push({ marked, cursor, order });
          if (each === 'events') open = order;
          order++;
        } else if (each === 'gap') {
          own.giveGap();
          open = order++;
        } else if (each === 'own') {
          if (!own.isSettled) continue;
          own.committed(own.ownCommit(cursor));
          committed = order++;
        } else if (given.length > 0) {
          const one = given[each.commit % given.length]!;
          const read = own.read('cursor', one.marked);
          assert.equal(read.cursor, one.cursor);
          assert.equal(own.advances(read), one.order > committed);
          own.committed(read);
          committed = Math.max(committed, one.order);
        }
        assert.equal(own.isSettled, open <= committed);
      }
    }),
    { numRuns: runs(100) },
  );
});

test('a cursor of another slice, epoch or hand is refused', () => {
  const own = lease();
  const marked = own.give('abc', 0);
  assert.deepEqual(own.read('cursor', marked), { ordinal: 1, cursor: 'abc' });
  const [cursor, ordinal, mark] = marked.split('~') as [string, string, string];
  const forged = [
    '',
    'abc',
    marked.slice(0, -1),
    `${marked}x`,
    `${cursor}~2~${mark}`,
    `abd~${ordinal}~${mark}`,
    `${cursor}~zzzzzzzzzzzz~${mark}`,
    lease().give('abc', 0),
    `${'a'.repeat(5000)}~1~${mark}`,
  ];
  for (const text of forged) {
    const refused = { code: 'invalid_argument', details: { field: 'slices[0].cursor' } };
    assert.throws(() => own.read('slices[0].cursor', text), refused, text);
  }
});

test('what the epoch began with can be committed, and changes nothing', () => {
  const own = lease();
  const read = own.read('cursor', own.markedStart);
  assert.equal(read.cursor, 'start');
  assert.equal(own.advances(read), false);
  assert.equal(lease(7, '').markedStart, '');
});

test('it is overdue when the oldest uncommitted events are, and not before', () => {
  const own = lease();
  assert.equal(own.isOverdue(10 * TIMEOUT_MS), false, 'nothing was given');
  const first = own.give('a', 0);
  const second = own.give('b', 5_000);
  own.mark('c');
  assert.equal(own.isOverdue(TIMEOUT_MS - 1), false);
  assert.equal(own.isOverdue(TIMEOUT_MS), true);
  own.committed(own.read('cursor', first));
  assert.equal(own.uncommittedSinceMs, 5_000);
  assert.equal(own.isOverdue(TIMEOUT_MS), false);
  assert.equal(own.isOverdue(TIMEOUT_MS + 5_000), true);
  own.committed(own.read('cursor', second));
  assert.equal(own.isOverdue(10 * TIMEOUT_MS), false);
  own.giveGap();
  assert.equal(own.isSettled, false, 'a gap is to be committed');
  assert.equal(own.isOverdue(100 * TIMEOUT_MS), false, 'but is no event that a member lets lie');
});

test('of any number of uncommitted cursors little is remembered', () => {
  const own = lease();
  for (let at = 0; at < 4_000; at++) own.give('c', at * 100);
  assert.ok(own.uncommittedSinceMs! < TIMEOUT_MS / 16);
});
