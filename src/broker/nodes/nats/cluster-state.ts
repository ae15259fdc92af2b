/** What brokers of a cluster tell each other in the stream that they share. */
import { checkMembers, MEMBERS_PREFIX } from '../../groups/presence/shared-presence.js';
import { checkNodeState } from '../node-state.js';
import { checkBrokerState } from './broker-leases.js';
import { checkClaim } from './cluster-interest.js';
import { checkHolds } from './cluster-nodes.js';
import { checkNodePlace } from './node-places.js';

/** Throws when the entry is not what a broker writes. */
export function checkClusterState(key: string, value: unknown): void {
  if (key.startsWith('broker.')) checkBrokerState(key, value);
  else if (key.startsWith('claim.')) checkClaim(key, value);
  else if (key.startsWith(MEMBERS_PREFIX)) checkMembers(key, value);
  else if (key.startsWith('node.')) checkNodePlace(key, value);
  else if (key.startsWith('holds.')) checkHolds(key, value);
  else checkNodeState(key, value);
}
