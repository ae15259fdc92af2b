/**
 * Nodes that are selected by their labels, instead of by name. Each node knows its own labels and nobody else needs to:
 * such a selection is a condition on host.labels, which is decided where the events are.
 *
 *   label    := key '=' value
 *   selector := key '=' glob          as of node-globs.ts
 *   key      := [prefix '/'] name     as in Kubernetes; at most 253 and 63 characters
 */
import { invalid } from '../../errors.js';
import { NODE_GLOBS_MAX } from '../../limits.js';
import { shown } from '../../text/shown.js';
import { isGlob } from './node-globs.js';

const KEY = '(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?';
const LABEL = new RegExp(`^${KEY}=[A-Za-z0-9_.-]{0,63}$`);
const SELECTOR = new RegExp(`^${KEY}=[A-Za-z0-9_.*?-]{0,63}$`);

export function isNodeLabel(text: string): boolean {
  return LABEL.test(text);
}

/** Whether a text in the place of a node's name selects by label. */
export function isLabelSelector(text: string): boolean {
  return text.includes('=');
}

export interface SelectedNodes {
  /** Names and globs. */
  readonly globs: readonly string[];
  /** A filter that selects by labels; undefined: no label was given. */
  readonly condition: string | undefined;
}

/** Any of several may match, as of names. @throws BackplaneError invalid_argument, also where both are given. */
export function selectedNodes(nodes: readonly string[]): SelectedNodes {
  const selectors = [...new Set(nodes.filter(isLabelSelector))].sort();
  if (selectors.length === 0) return { globs: nodes, condition: undefined };
  if (nodes.length > NODE_GLOBS_MAX) {
    throw invalid('node', `at most ${NODE_GLOBS_MAX} names or labels may be given, got ${nodes.length}`);
  }
  const name = nodes.find((node) => !isLabelSelector(node));
  if (name !== undefined) {
    const instead = `write host.name == ${JSON.stringify(name)} || ${JSON.stringify(selectors[0])} in host.labels in the filter`;
    throw invalid('node', `${shown(name)} is a name and ${shown(selectors[0]!)} a label: give one kind, or ${instead}`);
  }
  const odd = selectors.find((selector) => !SELECTOR.test(selector));
  if (odd !== undefined) throw invalid('node', `a label must be key=value, like zone=b, got ${shown(odd)}`);
  return { globs: [], condition: selectors.map(conditionOf).join(' || ') };
}

function conditionOf(selector: string): string {
  if (!isGlob(selector)) return `${JSON.stringify(selector)} in host.labels`;
  const pattern = selector.replace(/[.\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.');
  return `host.labels.exists(label, label.matches(${JSON.stringify(`^${pattern}$`)}))`;
}
