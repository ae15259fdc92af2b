/** A request to set what nodes may send, checked. */
import { BackplaneError } from '../../errors.js';
import { NODE_GLOBS_MAX } from '../../limits.js';
import { compileNodeGlobs } from '../../subscriptions/node-globs.js';
import type { SetBudgetRequest__Output } from '../../wire/messages.js';
import type { SavedBudget } from './budget-file.js';
import type { NodeRegistry } from './node-registry.js';

export interface BudgetChange {
  readonly nodes: readonly string[];
  /** Undefined: what was set is taken back. */
  readonly budget: SavedBudget | undefined;
}

/** Throws invalid_argument for rates out of range and no nodes, not_found when no known node matches. */
export function checkBudgetChange(request: SetBudgetRequest__Output, registry: NodeRegistry): BudgetChange {
  const { nodes: globs, budget } = request;
  if (globs.length === 0 || globs.length > NODE_GLOBS_MAX) {
    throw new BackplaneError(
      'invalid_argument',
      `nodes must be 1 to ${NODE_GLOBS_MAX} names or globs, got ${globs.length}`,
    );
  }
  const { matches } = compileNodeGlobs(globs);
  const nodes = [...registry.all()].map(({ name }) => name).filter(matches);
  if (nodes.length === 0) throw new BackplaneError('not_found', `no node matches ${globs.join(', ').slice(0, 200)}`);
  if (!budget) return { nodes, budget: undefined };
  if (budget.burstMs !== 0)
    throw new BackplaneError('invalid_argument', 'budget.burst_ms is a setting of the node: budget.burst');
  return {
    nodes,
    budget: {
      ...rate('liveBytesPerSecond', budget.liveBytesPerSecond),
      ...rate('liveEventsPerSecond', budget.liveEventsPerSecond),
      ...rate('historyBytesPerSecond', budget.historyBytesPerSecond),
    },
  };
}

function rate(field: keyof SavedBudget, value: string): SavedBudget {
  const number = Number(value);
  if (number === 0) return {};
  if (!Number.isSafeInteger(number)) {
    throw new BackplaneError('invalid_argument', `budget.${field} must be below 2^53, got ${value}`);
  }
  return { [field]: number };
}
