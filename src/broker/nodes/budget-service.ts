/** Requests to set nodes' budgets. Each is checked, then written to the audit trail, then carried out. */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { NODE_GLOBS_MAX } from '../../limits.js';
import { compileNodeGlobs } from '../../subscriptions/request/node-globs.js';
import type { Budget, ListBudgetsResponse, SetBudgetRequest__Output, SetBudgetResponse } from '../../wire/messages.js';
import type { Caller } from '../access/gate.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import type { NodeBudgets } from './node-budgets.js';
import type { NodeRegistry } from './node-registry.js';
import type { SavedBudget } from './node-state.js';

/** Whether a caller may see or change a node. */
type May = (node: string) => boolean;

export class BudgetService {
  readonly #registry: NodeRegistry;
  readonly #budgets: NodeBudgets;
  readonly #trail: AuditTrail;

  constructor(registry: NodeRegistry, budgets: NodeBudgets, trail: AuditTrail) {
    this.#registry = registry;
    this.#budgets = budgets;
    this.#trail = trail;
  }

  /**
   * Resolves with the matching nodes and the budget of each before and after; nodes that `may` refuses count as unknown.
   * Rejects with what checkBudgetChange throws, and when the audit trail or the budget file cannot be written.
   */
  async change(request: SetBudgetRequest__Output, caller: Caller, may: May): Promise<SetBudgetResponse> {
    const { nodes, budget } = this.#check(request, caller, may);
    const before = Object.fromEntries(nodes.map((node) => [node, this.#budgets.setFor(node) ?? null]));
    const { peer, identity } = caller;
    await this.#trail.record({ action: 'set_budget', peer, identity, before, set: budget ?? null });
    const could = nodes.map((node) => this.#budgetOf(node));
    await this.#budgets.change(nodes, budget);
    const changes = nodes.map((node, index) => ({ node, before: could[index] ?? null, after: this.#budgetOf(node) }));
    return { nodes: [...nodes], changes };
  }

  /** The rates of every node that is known and may be seen, in the order of their names. */
  list(may: May): ListBudgetsResponse {
    const seen = [...this.#registry.all()].filter(({ name }) => may(name));
    const budgets = seen.map((record) => {
      const set = this.#budgets.setFor(record.name);
      return { node: record.name, budget: this.#budgets.budget(record), set: set ? ratesOf(set) : null };
    });
    return { budgets: budgets.sort((a, b) => (a.node < b.node ? -1 : 1)) };
  }

  #budgetOf(node: string): Budget | null {
    const record = this.#registry.record(node);
    return record === undefined ? null : this.#budgets.budget(record);
  }

  #check(request: SetBudgetRequest__Output, caller: Caller, may: May): BudgetChange {
    try {
      return checkBudgetChange(request, this.#registry, may);
    } catch (cause) {
      const { code, message } = asBackplaneError(cause);
      const nodes = request.nodes.join(' ');
      this.#trail.refuse({ action: 'set_budget', ...caller, nodes, code, refused: message });
      throw cause;
    }
  }
}

interface BudgetChange {
  readonly nodes: readonly string[];
  /** Undefined removes the budget that was set: the nodes go by their own settings again. */
  readonly budget: SavedBudget | undefined;
}

/** Throws invalid_argument for rates out of range and no nodes, not_found when no known node matches. */
function checkBudgetChange(request: SetBudgetRequest__Output, registry: NodeRegistry, may: May): BudgetChange {
  const { nodes: globs, budget } = request;
  if (globs.length === 0 || globs.length > NODE_GLOBS_MAX) {
    const problem = `nodes must be 1 to ${NODE_GLOBS_MAX} names or globs, got ${globs.length}`;
    throw new BackplaneError('invalid_argument', problem, { field: 'nodes' });
  }
  const { matches } = compileNodeGlobs(globs);
  const nodes = [...registry.all()].map(({ name }) => name).filter((name) => matches(name) && may(name));
  if (nodes.length === 0) {
    throw new BackplaneError('not_found', `no node matches ${globs.join(', ').slice(0, 200)}`, { field: 'nodes' });
  }
  if (!budget) return { nodes, budget: undefined };
  if (budget.burstMs !== 0) {
    const problem = 'budget.burst_ms is a setting of the node: budget.burst';
    throw new BackplaneError('invalid_argument', problem, { field: 'budget.burst_ms' });
  }
  return {
    nodes,
    budget: {
      liveBytesPerSecond: rate('live_bytes_per_second', budget.liveBytesPerSecond),
      liveEventsPerSecond: rate('live_events_per_second', budget.liveEventsPerSecond),
      historyBytesPerSecond: rate('history_bytes_per_second', budget.historyBytesPerSecond),
    },
  };
}

/** 0: not set. */
function ratesOf(set: SavedBudget): Budget {
  const { liveBytesPerSecond = 0, liveEventsPerSecond = 0, historyBytesPerSecond = 0 } = set;
  return { liveBytesPerSecond, liveEventsPerSecond, historyBytesPerSecond };
}

/** Returns undefined for 0, which means that the rate is not set. Throws invalid_argument from 2^53 on. */
function rate(field: string, value: string): number | undefined {
  const number = Number(value);
  if (number === 0) return undefined;
  if (!Number.isSafeInteger(number)) {
    const problem = `budget.${field} must be below 2^53, got ${value}`;
    throw new BackplaneError('invalid_argument', problem, { field: `budget.${field}` });
  }
  return number;
}
