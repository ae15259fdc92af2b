/** What nobody could tell a cluster again: budgets, join tokens, groups. */
import type { Logger } from 'pino';
import { BackplaneError } from '../../../errors.js';
import { checkJoinState } from '../../access/join/join-tokens.js';
import { checkGroupState } from '../../groups/group-record.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { BUDGET_PREFIX, checkNodeState } from '../../nodes/node-state.js';
import { keptStream } from './coordination-streams.js';
import { NatsState } from './nats-state.js';

export interface KeptStateOptions {
  readonly link: NatsLink;
  readonly cluster: string;
  /** This broker's name. */
  readonly broker: string;
  readonly logger: Logger;
  /** The stream is gone, or another one: the broker cannot go on. */
  readonly onLost: (reason: BackplaneError) => void;
}

/** Resolves when it has been read. Rejects with unavailable or failed_precondition when that cannot be. */
export function openKeptState({ link, cluster, broker, logger, onLost }: KeptStateOptions): Promise<NatsState> {
  return NatsState.open({
    link,
    ...keptStream(cluster),
    broker,
    check,
    onTrouble: (reason) => {
      if (reason === undefined) logger.info('what the cluster keeps is read again');
      else logger.error(reason);
    },
    onRegression: (reason) => logger.error(`${reason}: budgets, join tokens and commits are as they were before`),
    onGone: (reason) => onLost(new BackplaneError('failed_precondition', reason)),
  });
}

/** Throws when the entry is not what a broker writes. */
function check(key: string, value: unknown): void {
  if (key.startsWith(BUDGET_PREFIX)) checkNodeState(key, value);
  else if (key.startsWith('join.')) checkJoinState(key, value);
  else checkGroupState(key, value);
}
