/** A map that forgets its oldest entries. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LRUCache } from 'lru-cache';
import { BoundedMap, RecentMap } from '../../../src/sensor-agent/timeline/bounded-map.js';
import { runs } from '../../harness/runs.js';

test('beyond the bound the entry that was set longest ago is forgotten, and setting it again renews it', () => {
  const map = new BoundedMap<string, number>(2);
  map.set('a', 1).set('b', 2).set('a', 3).set('c', 4);
  assert.deepEqual(
    [...map],
    [
      ['a', 3],
      ['c', 4],
    ],
  );
  map.delete('a');
  map.set('d', 5);
  assert.deepEqual([...map.keys()], ['c', 'd']);
  assert.equal(map.get('b'), undefined);
});

const key = fc.nat({ max: 9 });
const action = fc.oneof(
  fc.record({ do: fc.constant('set'), key, bytes: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ do: fc.constantFrom('get', 'peek', 'delete', 'renew', 'clear'), key, bytes: fc.constant(0) }),
);

test('a recent map keeps what lru-cache keeps, in the same order', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const bytesOf = (value: { bytes: number }) => value.bytes;
      const map = new RecentMap<{ bytes: number }>(5, 100, bytesOf);
      const lru = new LRUCache<number, { bytes: number }>({ max: 5, maxSize: 100, sizeCalculation: bytesOf });
      for (const each of actions) {
        const value = each.do === 'renew' ? map.peek(each.key) : { bytes: each.bytes };
        if ((each.do === 'set' || each.do === 'renew') && value) {
          map.set(each.key, value);
          lru.set(each.key, value);
        }
        if (each.do === 'get') assert.equal(map.get(each.key), lru.get(each.key));
        if (each.do === 'delete') map.delete(each.key);
        if (each.do === 'delete') lru.delete(each.key);
        if (each.do === 'clear' && each.key === 0) map.clear();
        if (each.do === 'clear' && each.key === 0) lru.clear();
        assert.equal(map.size, lru.size);
        assert.deepEqual([...map.oldestFirst()], [...lru.rentries()]);
        assert.deepEqual([...map.values()], [...lru.values()]);
      }
    }),
    { numRuns: runs(300) },
  );
});
