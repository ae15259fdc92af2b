/** What a broker keeps between its starts besides its logs: one file for each kind. */
import type { Logger } from 'pino';
import { StateFile } from './cluster/embedded/state-file.js';
import { checkGroupState } from './groups/group-record.js';
import { budgetEntriesOfVersion1, checkNodeState, interestEntriesOfVersion1 } from './nodes/node-state.js';

/**
 * A damaged file costs work but no events: without the claims the broker does not know for which predicates the log is
 * complete, so resumed subscriptions are served from the recorders. Budgets, which nobody could send again, and parked
 * cursors, which are long, are in files of their own that are written seldom.
 */
export function openState(
  dir: string,
  logger: Logger,
): Record<'interest' | 'setBudgets' | 'groupState' | 'parkedState', StateFile> {
  const common = { dir, check: checkNodeState, warn: (message: string) => logger.warn(message) };
  return {
    interest: new StateFile({
      ...common,
      name: 'interest',
      upgrade: interestEntriesOfVersion1,
      consequence:
        'The broker starts without it: nodes are asked anew, what nobody asks for again is no longer asked of them, ' +
        'and subscriptions that resume take from the recorders what the log may lack; their cursors stay valid',
    }),
    setBudgets: new StateFile({
      ...common,
      name: 'budgets',
      upgrade: budgetEntriesOfVersion1,
      consequence: 'Budgets that were set at run time are gone',
    }),
    groupState: new StateFile({
      ...common,
      check: checkGroupState,
      name: 'groups',
      upgrade: noGroups,
      consequence: 'Groups and how far they had got are gone: members make them anew, from now on',
    }),
    parkedState: new StateFile({
      ...common,
      check: checkGroupState,
      name: 'parked',
      upgrade: noGroups,
      consequence: 'Groups that the log does not reach back to any more go on behind their last commits, after a gap',
    }),
  };
}

function noGroups(): never {
  throw new Error('version 1 had no groups');
}
