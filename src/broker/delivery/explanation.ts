/** Explains to people what a subscription does, in which place, and what it costs the nodes. */

import { NODES_NAMED_MAX } from '../../limits.js';
import {
  CATALOGUE,
  type CatalogueEntry,
  EVENT_COSTS,
  tracedEvents,
  USER_FIELD,
} from '../../subscriptions/pushdown/catalogue.js';
import { kernelFilter } from '../../subscriptions/pushdown/kernel-filter.js';
import { isConstant, type RawExpr, type RawField } from '../../subscriptions/pushdown/raw-expr.js';
import { nodeGlobsText } from '../../subscriptions/request/node-globs.js';
import type { Selector } from '../../subscriptions/request/selectors.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import { shownList } from '../../text/shown.js';
import { TOPICS } from '../../wire/event/event.js';
import type { Plan, PlanStage } from '../../wire/messages.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { profileNote } from './profiles.js';

/** One predicate of a subscription, and what the subscription says beside it. */
export type Explained = Pick<CheckedSubscription, 'nodes' | 'window'> & Pick<Selector, 'predicate'>;

export function explain(checked: CheckedSubscription, registry: NodeRegistry): Plan {
  const { selectors, topics, nodes, window, publishers } = checked;
  const named = [...topics, ...(checked.documents?.topics ?? [])];
  const granted = (checked.scope?.notes ?? []).map((text): PlanStage => ({ place: 'broker', text }));
  const isOfNodes = topics.length > 0;
  const common = isOfNodes ? streamStages(window) : [];
  const plans = selectors.map(({ id, predicate }) => ({
    ...{ selector: id, filter: predicate.canonical },
    topics: [...predicate.topics, ...(predicate.documents?.topics ?? [])],
    ofNodes: predicate.topics.length === 0 ? [] : selectorStages({ predicate, nodes, window }, registry),
    ofDocuments: documentStages(predicate, publishers),
  }));
  const [first] = plans;
  if (first!.selector === '') {
    const { filter, ofNodes, ofDocuments } = first!;
    return { filter, topics: named, stages: [...granted, ...ofNodes, ...common, ...ofDocuments] };
  }
  const once = { place: 'agent', text: 'sends an event that several selectors match once, and says which do' };
  return {
    filter: '',
    topics: named,
    stages: [...granted, ...(isOfNodes ? [once] : []), ...common],
    selectors: plans.map(({ ofNodes, ofDocuments, ...plan }) => ({ ...plan, stages: [...ofNodes, ...ofDocuments] })),
  };
}

/** What is done for one predicate alone. */
function selectorStages(asked: Explained, registry: NodeRegistry): PlanStage[] {
  const { predicate } = asked;
  const types = predicate.topics.flatMap((topic) =>
    (TOPICS[topic]?.types ?? []).filter((type) => predicate.mayMatchType(type)),
  );
  const stages: PlanStage[] = [
    ...kernelStages(asked, registry, types),
    ...blindStages(asked, registry, types),
    ...argumentStages(asked, registry, types),
    ...userStages(asked, registry),
  ];
  const note = profileNote(asked, registry);
  if (note !== undefined) stages.push({ place: 'agent', text: note });
  stages.push({ place: 'agent', text: agentText(asked, registry, types) });
  if (predicate.spec.fields.length > 0) {
    const only = `only type, time, position, ${predicate.spec.fields.join(', ')}`;
    stages.push({ place: 'agent', text: `encodes ${only}, and what others ask for of the same event` });
    stages.push({ place: 'broker', text: 'cuts off what others asked for, without decoding' });
  }
  return stages;
}

function streamStages(window: CheckedSubscription['window']): PlanStage[] {
  const stages: PlanStage[] = [];
  if (window.history) {
    stages.push({ place: 'agent', text: 'the same over the recorder, for the window, decoded only for this' });
    stages.push({ place: 'broker', text: "merges the nodes' history by wall time" });
  }
  if (window.follow) {
    stages.push({ place: 'broker', text: "selects live events by the agents' match lists, without decoding them" });
  }
  return stages;
}

/** Of topics that are born in the broker. */
function documentStages(
  { documents, canonical }: Selector['predicate'],
  { globs }: CheckedSubscription['publishers'],
): PlanStage[] {
  if (documents === undefined) return [];
  const whose = globs.length === 0 ? 'everybody' : globs.join(', ');
  const what = `events of ${documents.topics.join(', ')} of ${whose} that match ${canonical}`;
  return [{ place: 'broker', text: `reads ${what}, from its own log: no node is asked` }];
}

/** How a node has the arguments of programs (`arguments_by` of its report). */
const ARGUMENTS_BY: Readonly<Record<string, string>> = {
  kprobe: 'as the kernel copied them, of every 64-bit program',
  uprobe:
    'as the kernel copied them, of programs with a dynamic linker; others are looked up, and missed where they end at once',
  visit: 'looked up when a program has started, and missed where it ends at once',
};

/** One stage for each way, as far as the nodes have said which they have. */
function argumentStages({ nodes }: Explained, registry: NodeRegistry, types: readonly string[]): PlanStage[] {
  if (!types.includes('process.exec')) return [];
  const connected = registry.connected(nodes.matches).sort();
  return Object.entries(ARGUMENTS_BY).flatMap(([way, text]) => {
    const having = connected.filter((node) => registry.record(node)?.report?.argumentsBy === way);
    if (having.length === 0) return [];
    return [{ place: 'agent', text: `arguments of programs on ${shownList(having, NODES_NAMED_MAX)}: ${text}` }];
  });
}

const AS_IT_CHANGES =
  'process.user is followed as it changes where the kernel has kprobes ("doctor" says so); else it is that of the start of ' +
  'the program, of a second later, and of a moment after the process connects or listens';

/** What may be otherwise by now, where somebody names it, and on which nodes it is. */
function userStages(checked: Explained, registry: NodeRegistry): PlanStage[] {
  const { filter, fields } = checked.predicate.spec;
  const isNamed = [filter, ...fields].some((text) => text.includes(USER_FIELD));
  return isNamed ? [{ place: 'agent', text: AS_IT_CHANGES }, ...blindStages(checked, registry, [USER_FIELD])] : [];
}

/** One stage for each type, or field of all, and sentence, as far as nodes have said what they cannot see. */
function blindStages(
  { nodes }: Pick<Explained, 'nodes'>,
  registry: NodeRegistry,
  types: readonly string[],
): PlanStage[] {
  const connected = registry.connected(nodes.matches).sort();
  return types.flatMap((type) => {
    const said = connected.map((node) => registry.record(node)?.report?.blindSpots[type]);
    return [...new Set(said)].flatMap((text) => {
      if (text === undefined) return [];
      const blind = connected.filter((_node, at) => said[at] === text);
      return [{ place: 'kernel', text: `${type} on ${shownList(blind, NODES_NAMED_MAX)}: ${text}` } as const];
    });
  });
}

function agentText({ predicate, nodes, window }: Explained, registry: NodeRegistry, types: readonly string[]): string {
  // With `follow` every node is asked for live events, however late its recording begins.
  const untilNs = window.follow ? undefined : window.untilNs;
  const may = (node: string) => untilNs === undefined || registry.record(node)?.recordedAfter(untilNs) !== true;
  const connected = registry.connected(nodes.matches).sort();
  const asked = connected.filter(may);
  const passedOver = connected.length - asked.length;
  const names = shownList(asked, NODES_NAMED_MAX);
  const where = nodes.globs.length === 0 ? 'every node' : `nodes ${nodeGlobsText(nodes.globs)}`;
  const later = passedOver === 0 ? '' : `; ${passedOver} not asked, as all they have recorded is later than the window`;
  const now = `${asked.length === 0 ? 'now none' : `now ${names}`}${later}`;
  return `on ${where} (${now}): events of ${types.join(', ')} that match ${predicate.canonical}`;
}

/**
 * One stage for what every node records anyway, and one for each event that is switched on for this subscription. An
 * event whose profile no connected node allows is not switched on, which a stage of its own says.
 */
function kernelStages({ predicate, nodes }: Explained, registry: NodeRegistry, types: readonly string[]): PlanStage[] {
  const connected = registry.connected(nodes.matches);
  const allowed = new Set(connected.flatMap((node) => registry.record(node)?.hello?.profiles ?? []));
  const refused = new Set<string>();
  const entries = types.flatMap((type) => CATALOGUE.get(type) ?? []);
  const always = new Set(entries.filter(({ profile }) => profile === 'lite').flatMap(tracedEvents));
  const stages: PlanStage[] = [];
  if (always.size > 0) {
    stages.push({
      place: 'kernel',
      text: `records ${[...always].join(', ')}, whole, as on every node: ${EVENT_COSTS.lite}`,
    });
  }
  for (const entry of entries) {
    if (entry.profile === 'lite') continue;
    const { type, profile, blindSpot, blindWithoutProbes } = entry;
    if (connected.length > 0 && !allowed.has(profile)) {
      refused.add(profile);
      continue;
    }
    const text = `records ${tracedText(entry)} while this is asked for (profile ${profile}): ${filterText(predicate.rawForm(type).expr)}; ${costOf(entry)}`;
    stages.push({ place: 'kernel', text });
    const unseen = [blindWithoutProbes, blindSpot].flatMap((text) => text ?? []);
    if (unseen.length > 0) stages.push({ place: 'kernel', text: `${type} does not see all: ${unseen.join('; ')}` });
  }
  if (refused.size > 0) {
    const text = `records nothing of the profiles ${[...refused].sort().join(', ')}: no node that is asked allows them`;
    stages.push({ place: 'kernel', text });
  }
  return stages;
}

/** Stands for any field. Sizes and signs differ between kernels, so a node's real filter may select more events. */
const ANY_FIELD: RawField = { kind: 'int', type: '', sizeBytes: 8, elementBytes: 8, signed: true };

function filterText(expr: RawExpr): string {
  if (isConstant(expr, true)) return 'all of them, as nothing in the filter can be decided from the raw entry';
  const text = kernelFilter([expr], { field: () => ANY_FIELD });
  if (text !== undefined) return `only where ${text}`;
  return 'all of them, as the kernel cannot decide the filter; the agent tests raw entries before it decodes them';
}

function tracedText(entry: CatalogueEntry): string {
  const traced = tracedEvents(entry).join(', ');
  if (entry.probes.length === 0) return traced;
  const probes = `${entry.probes.join(', ')} (probes in the kernel`;
  return traced === '' ? `${probes})` : `${probes}; where it has no kprobes ${traced})`;
}

function costOf({ traceEvent, profile }: CatalogueEntry): string {
  if (profile === 'udp') return EVENT_COSTS.udp;
  if (traceEvent?.startsWith('module/')) return EVENT_COSTS.modules;
  return EVENT_COSTS.syscall;
}
