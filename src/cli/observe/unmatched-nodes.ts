/** Names, globs and labels given as nodes that match no known node, mostly through a typing error. */
import type { Client } from '../../client/client.js';
import { compileGlobs, isGlob } from '../../subscriptions/request/node-globs.js';
import { isLabelSelector } from '../../subscriptions/request/node-labels.js';
import { suggestion } from '../../text/nearest.js';
import { shownList } from '../../text/shown.js';

/** Globs for which a suggestion is computed, because comparing names is costly. */
const SUGGESTIONS_MAX = 8;

/** Labels that a sentence names. */
const LABELS_SHOWN_MAX = 8;

/**
 * One sentence for each glob, or selection by a label, that matches no node, connected or gone. None when the broker does
 * not answer.
 */
export async function unmatchedNodes(client: Client, globs: readonly string[]): Promise<string[]> {
  if (globs.length === 0) return [];
  const listed = await client.listNodes().catch(() => undefined);
  if (listed === undefined) return [];
  const names = listed.nodes.map(({ name }) => name);
  const labels = [...new Set(listed.nodes.flatMap((node) => node.labels))].sort();
  // Whoever publishes is no node.
  const unmatched = globs.filter(
    (glob) => !glob.startsWith('@') && !(isLabelSelector(glob) ? labels : names).some(compileGlobs([glob])),
  );
  return unmatched.map((glob, at) => {
    if (isLabelSelector(glob)) return `no node has the label "${glob}": ${known(glob, labels)}`;
    if (isGlob(glob)) return `no node matches "${glob}"`;
    return `no node is called "${glob}"${at < SUGGESTIONS_MAX ? suggestion(glob, names) : ''}`;
  });
}

/** Labels that a selection may have meant: of its key, or all. */
function known(selector: string, labels: readonly string[]): string {
  if (labels.length === 0) return 'no node has labels (agent.labels)';
  const key = selector.slice(0, selector.indexOf('=') + 1);
  const near = labels.filter((label) => label.startsWith(key));
  return `known are ${shownList(near.length === 0 ? labels : near, LABELS_SHOWN_MAX)}`;
}
