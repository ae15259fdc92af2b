/** What a subscription will do, and where. */
import type { CheckedSubscription } from '../../subscriptions/subscription-request.js';
import type { Plan } from '../../wire/messages.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { profileNote } from './profiles.js';

export function explain(checked: CheckedSubscription, registry: NodeRegistry): Plan {
  const { predicate, topics, window, nodes } = checked;
  const where = nodes.globs.length === 0 ? 'every node' : `nodes ${nodes.globs.join(', ')}`;
  const stages = [
    { place: 'agent', text: `on ${where}: events of ${topics.join(', ')} that match ${predicate.canonical}` },
  ];
  const note = profileNote(checked, registry);
  if (note !== undefined) stages.push({ place: 'agent', text: note });
  if (window.history) {
    stages.push({ place: 'agent', text: 'the same over the recorder, for the window, decoded only for this' });
    stages.push({ place: 'broker', text: "merges the nodes' history by wall time" });
  }
  if (window.follow) {
    stages.push({ place: 'broker', text: "selects live events by the agents' match lists, without decoding them" });
  }
  return { filter: predicate.canonical, topics: [...topics], stages };
}
