/** The two states of a cluster, as a broker opens them. */
import type { Logger } from 'pino';
import { BackplaneError } from '../../../errors.js';
import { checkJoinState } from '../../access/join/join-tokens.js';
import { checkGroupState } from '../../groups/group-record.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { checkClusterState } from '../../nodes/nats/cluster-state.js';
import { BUDGET_PREFIX, checkNodeState } from '../../nodes/node-state.js';
import { keptStream, type StateStream, sharedStream } from './coordination-streams.js';
import { NatsState } from './nats-state.js';

export interface ClusterStateOptions {
  readonly link: NatsLink;
  readonly cluster: string;
  /** This broker's name. */
  readonly broker: string;
  readonly logger: Logger;
  /** The stream is gone, or another one: the broker cannot go on. */
  readonly onLost: (reason: BackplaneError) => void;
}

/**
 * What nobody could tell a cluster again: budgets, join tokens, groups. Resolves when it has been read. Rejects with
 * unavailable or failed_precondition when that cannot be.
 */
export function openKeptState(options: ClusterStateOptions): Promise<NatsState> {
  const consequence = 'budgets, join tokens and commits are as they were before';
  return open(options, { ...keptStream(options.cluster), check: checkKept, consequence });
}

/** What brokers can tell each other again: claims, nodes, signs of life. Likewise. */
export function openSharedState(options: ClusterStateOptions): Promise<NatsState> {
  const consequence = 'brokers tell each other again';
  return open(options, { ...sharedStream(options.cluster), check: checkClusterState, consequence });
}

interface Kind extends StateStream {
  readonly check: (key: string, value: unknown) => void;
  /** What it means that the stream went back in time. */
  readonly consequence: string;
}

function open(
  { link, broker, logger, onLost }: ClusterStateOptions,
  { consequence, ...kind }: Kind,
): Promise<NatsState> {
  return NatsState.open({
    link,
    ...kind,
    broker,
    onTrouble: (reason) => {
      if (reason === undefined) logger.info(`the stream ${kind.stream} is read again`);
      else logger.error(reason);
    },
    onRegression: (reason) => logger.error(`${reason}; ${consequence}`),
    onDefect: (cause) => logger.error(cause, `a change of ${kind.stream} was not taken in, which is a defect`),
    onGone: (reason) => onLost(new BackplaneError('failed_precondition', reason)),
  });
}

/** Throws when the entry is not what a broker writes. */
function checkKept(key: string, value: unknown): void {
  if (key.startsWith(BUDGET_PREFIX)) checkNodeState(key, value);
  else if (key.startsWith('join.')) checkJoinState(key, value);
  else checkGroupState(key, value);
}
