/**
 * Whether nodes may record what a subscription asks for. A subscription that can
 * match an event that every node records, or one in no profile, needs no profile.
 */
import { BackplaneError } from '../../errors.js';
import { NODES_NAMED_MAX } from '../../limits.js';
import { CATALOGUE, type Profile } from '../../subscriptions/pushdown/catalogue.js';
import type { Selector } from '../../subscriptions/request/selectors.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import { shown, shownList } from '../../text/shown.js';
import { TOPICS } from '../../wire/event/event.js';
import type { NodeRegistry } from '../nodes/node-registry.js';

/** One predicate of a subscription. */
type Asked = Pick<CheckedSubscription, 'nodes'> & Pick<Selector, 'predicate'>;

interface ProfileDemand {
  /** Profiles of which any one suffices. Empty when no profile is needed. */
  readonly profiles: readonly Profile[];
  /** Connected nodes that match the subscription and allow none of these profiles. */
  readonly refusing: readonly string[];
  readonly allowing: readonly string[];
}

function demandOf(checked: Asked, registry: NodeRegistry): ProfileDemand {
  const profiles = neededProfiles(checked);
  const refusing: string[] = [];
  const allowing: string[] = [];
  if (profiles.length === 0) return { profiles, refusing, allowing };
  for (const node of registry.connected(checked.nodes.matches).sort()) {
    const allowed = registry.record(node)?.hello?.profiles ?? [];
    (profiles.some((profile) => allowed.includes(profile)) ? allowing : refusing).push(node);
  }
  return { profiles, refusing, allowing };
}

function neededProfiles({ predicate }: Asked): Profile[] {
  const profiles = new Set<Profile>();
  for (const { types } of Object.values(TOPICS)) {
    for (const type of types) {
      const profile = CATALOGUE.get(type)?.profile ?? 'lite';
      if (profiles.has(profile) || !predicate.mayMatchType(type)) continue;
      if (profile === 'lite') return [];
      profiles.add(profile);
    }
  }
  return [...profiles];
}

/** Throws failed_precondition when nodes are connected and none of them may record what one of the selectors asks for. */
export function checkProfiles({ selectors, nodes }: CheckedSubscription, registry: NodeRegistry): void {
  for (const { id, predicate } of selectors) {
    const demand = demandOf({ predicate, nodes }, registry);
    if (demand.refusing.length === 0 || demand.allowing.length > 0) continue;
    const which = id === '' ? '' : `selector ${shown(id)}: `;
    throw new BackplaneError('failed_precondition', which + refusalText(demand));
  }
}

/** A sentence that names the nodes that will send nothing; undefined when there are none. */
export function profileNote(checked: Asked, registry: NodeRegistry): string | undefined {
  const demand = demandOf(checked, registry);
  return demand.refusing.length === 0 ? undefined : refusalText(demand);
}

function refusalText({ profiles, refusing }: ProfileDemand): string {
  const nodes = shownList(refusing, NODES_NAMED_MAX);
  const [word, verb] = refusing.length === 1 ? ['node', 'does'] : ['nodes', 'do'];
  const setting = ['lite', ...profiles].join(',');
  return (
    `this needs the profile ${profiles.join(' or ')}, which ${word} ${nodes} ${verb} not allow: ` +
    `set agent.profiles (BACKPLANE_AGENT_PROFILES) to ${setting} there`
  );
}
