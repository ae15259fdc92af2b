/** Shares of the ceiling, whoever comes and goes between the rounds in which they are dealt out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SharedState } from '../../../src/broker/cluster/shared-state.js';
import { NodeBudgets } from '../../../src/broker/nodes/node-budgets.js';
import type { NodeRecord } from '../../../src/broker/nodes/node-record.js';
import type { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import type { NodeRoute } from '../../../src/broker/nodes/node-route.js';
import { LEASE_EXCESS_MAX, MiB } from '../../../src/limits.js';
import type { ControlResponse } from '../../../src/wire/messages.js';

const CEILING = MiB;
type Node = { name: string; connection?: object };

test('nodes that connect, however many, are never granted more than a twentieth beyond the ceiling', async () => {
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.constant('connects' as const) },
    fc.constantFrom('leaves' as const, 'round' as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 100 }), async (steps) => {
      const nodes = new Map<string, Node>();
      const granted = new Map<string, number>();
      const grant = (name: string, { lease }: ControlResponse) =>
        granted.set(name, Number(lease?.budget?.liveBytesPerSecond));
      const registry = {
        all: () => nodes.values(),
        record: (name: string) => nodes.get(name),
        get connectedCount() {
          return nodes.size;
        },
      } as unknown as NodeRegistry;
      const route = { tell: grant } as unknown as NodeRoute;
      const state = { watch: () => {} } as unknown as SharedState;
      const budgets = new NodeBudgets(registry, route, state, () => CEILING);
      for (const [at, one] of steps.entries()) {
        if (one === 'round') budgets.lease();
        else if (one === 'leaves') {
          const [name = ''] = nodes.keys();
          nodes.delete(name);
          granted.delete(name);
        } else {
          const node: Node = { name: `n${at}` };
          grant(node.name, budgets.first(node as unknown as NodeRecord)!);
          node.connection = {};
          nodes.set(node.name, node);
        }
        await Promise.resolve();
        const sum = [...granted.values()].reduce((all, rate) => all + rate, 0);
        assert.ok(sum <= CEILING * (1 + LEASE_EXCESS_MAX), `${sum} bytes per second after ${at + 1} steps`);
      }
    }),
  );
});
