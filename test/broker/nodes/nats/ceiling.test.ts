/** The ceiling without an owner, whatever brokers ask for and however late each reads what the others do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type BrokerDemand, brokerShare, CeilingShare } from '../../../../src/broker/nodes/nats/ceiling.js';
import { maxMinShares } from '../../../../src/flow/max-min.js';

const CEILING = 1_000_000;
const LEASE_MS = 15_000;
const SUM_MAX = CEILING * (1 + 1e-9);

const demandsOf = (brokers: number) =>
  fc.array(fc.record({ nodes: fc.nat(5), bytesPerSecond: fc.nat(2 * CEILING) }), {
    minLength: brokers,
    maxLength: brokers,
  });

test('shares are those of the nodes, max-min fair, and their sum is the ceiling', () => {
  fc.assert(
    fc.property(demandsOf(4), (asked) => {
      const demands: BrokerDemand[] = asked.map((each, at) => ({ broker: `b${at}`, ...each }));
      const nodes = demands.flatMap(
        ({ nodes, bytesPerSecond }) => Array(nodes).fill(bytesPerSecond / nodes) as number[],
      );
      const ofNodes = maxMinShares(nodes, CEILING);
      let at = 0;
      for (const { broker, nodes } of demands) {
        const sum = ofNodes.slice(at, at + nodes).reduce((all, share) => all + share, 0);
        at += nodes;
        const share = brokerShare(broker, demands, CEILING);
        assert.ok(Math.abs(share - sum) < 1, `${share} instead of ${sum}`);
      }
    }),
  );
});

/** At a time, one broker says what its nodes ask for, and each reads it after its own delay. */
const change = fc.record({
  afterMs: fc.nat(10_000),
  broker: fc.nat(3),
  nodes: fc.nat(5),
  bytesPerSecond: fc.nat(2 * CEILING),
  /** Of each broker. */
  delaysMs: fc.array(fc.nat(LEASE_MS), { minLength: 4, maxLength: 4 }),
});

interface Reading {
  readonly atMs: number;
  readonly reader: number;
  readonly told: number;
}

test('the sum of what brokers take is never above the ceiling while none reads later than a lease', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const shares = Array.from({ length: 4 }, () => new CeilingShare(CEILING, 0, LEASE_MS));
      const readings: Reading[] = [];
      let nowMs = 0;
      const readMs = [0, 0, 0, 0];
      for (const [told, { afterMs, delaysMs }] of changes.entries()) {
        nowMs += afterMs;
        for (const [reader, delayMs] of delaysMs.entries()) {
          // In one order, whatever the delays.
          readMs[reader] = Math.max(readMs[reader]!, nowMs + delayMs);
          readings.push({ atMs: readMs[reader]!, reader, told });
        }
      }
      readings.sort((a, b) => a.atMs - b.atMs || a.told - b.told);
      const known = shares.map(() => new Map<string, BrokerDemand>());
      const times = readings.flatMap(({ atMs }) => [atMs, atMs + LEASE_MS, atMs + LEASE_MS + 1]);
      for (const atMs of [...new Set(times)].sort((a, b) => a - b)) {
        for (; readings[0] !== undefined && readings[0].atMs <= atMs; readings.shift()) {
          const { reader, told, atMs: when } = readings[0];
          const { broker, nodes, bytesPerSecond } = changes[told]!;
          known[reader]!.set(`b${broker}`, { broker: `b${broker}`, nodes, bytesPerSecond });
          const share = brokerShare(`b${reader}`, [...known[reader]!.values()], CEILING);
          shares[reader]!.read(share, known[reader]!.size, when);
        }
        const sum = shares.reduce((all, share) => all + share.at(atMs), 0);
        assert.ok(sum <= SUM_MAX, `${sum} bytes per second at ${atMs} ms`);
      }
    }),
    { numRuns: 300 },
  );
});

test('what is less counts at once, what is more one lease later; who reads nothing takes an even share at most', () => {
  const share = new CeilingShare(CEILING, 0, LEASE_MS);
  assert.equal(share.at(1), 0);
  share.read(800_000, 4, 10);
  share.read(800_000, 4, LEASE_MS);
  assert.equal(share.at(LEASE_MS), 0);
  assert.equal(share.at(LEASE_MS + 11), 800_000);
  let nowMs = 2 * LEASE_MS;
  share.read(100_000, 4, nowMs);
  assert.equal(share.at(nowMs), 100_000);
  share.read(900_000, 4, nowMs + 1);
  assert.equal(share.at(nowMs + LEASE_MS), 100_000);
  share.read(900_000, 4, nowMs + LEASE_MS + 2);
  assert.equal(share.at(nowMs + LEASE_MS + 2), 900_000);
  nowMs += 3 * LEASE_MS;
  assert.equal(share.at(nowMs), CEILING / 4);
});
