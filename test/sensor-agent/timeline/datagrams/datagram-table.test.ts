/** First datagrams are told, later ones counted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DATAGRAM_PEERS_MAX, DATAGRAM_TOLD_NS } from '../../../../src/limits.js';
import { DatagramTable } from '../../../../src/sensor-agent/timeline/datagrams/datagram-table.js';
import { runs } from '../../../harness/runs.js';

test('a first datagram is told at once, later ones once a minute with their number', () => {
  const table = new DatagramTable();
  assert.equal(table.sent(1n, 'a', 0n), 1);
  for (let at = 1n; at <= 3n; at += 1n) assert.equal(table.sent(1n, 'a', at), undefined);
  assert.equal(table.sent(1n, 'b', 4n), 1, 'another peer');
  assert.equal(table.sent(2n, 'a', 5n), 1, 'another socket');
  assert.equal(table.sent(1n, 'a', DATAGRAM_TOLD_NS), 4);
  assert.equal(table.sent(1n, 'a', DATAGRAM_TOLD_NS + 1n), undefined);
  assert.equal(table.sent(1n, 'a', 3n * DATAGRAM_TOLD_NS), 2);
});

test('a socket that has ended is another when it comes again', () => {
  const table = new DatagramTable();
  for (const key of ['a', 'b']) table.sent(1n, key, 0n);
  table.sent(2n, 'a', 0n);
  table.ended(1n);
  assert.deepEqual([table.sent(1n, 'a', 1n), table.sent(1n, 'b', 1n), table.sent(2n, 'a', 1n)], [1, 1, undefined]);
});

test('peers are bounded: the one told longest ago is forgotten first', () => {
  const table = new DatagramTable();
  for (let at = 0; at <= DATAGRAM_PEERS_MAX; at += 1) table.sent(BigInt(at), 'a', 0n);
  assert.equal(table.save().length, DATAGRAM_PEERS_MAX);
  assert.equal(table.sent(1n, 'a', 1n), undefined);
  assert.equal(table.sent(0n, 'a', 1n), 1);
  assert.equal(table.save().length, DATAGRAM_PEERS_MAX);
});

test('every datagram is told or counted, once', () => {
  const step = fc.record({
    socket: fc.bigInt({ min: 1n, max: 3n }),
    key: fc.constantFrom('a', 'b'),
    afterNs: fc.constantFrom(1n, DATAGRAM_TOLD_NS / 3n),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const table = new DatagramTable();
      let nowNs = 0n;
      let told = 0;
      for (const { socket, key, afterNs } of steps) {
        nowNs += afterNs;
        told += table.sent(socket, key, nowNs) ?? 0;
      }
      const untold = table.save().reduce((sum, [, , , count]) => sum + count, 0);
      assert.equal(told + untold, steps.length);
    }),
    { numRuns: runs(200) },
  );
});
