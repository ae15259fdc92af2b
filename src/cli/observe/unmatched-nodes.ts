/** Names and globs given as nodes that match no known node, mostly through a typing error. */
import type { Client } from '../../client/client.js';
import { compileNodeGlobs } from '../../subscriptions/request/node-globs.js';
import { isLabelSelector } from '../../subscriptions/request/node-labels.js';
import { suggestion } from '../../text/nearest.js';

/** Globs for which a suggestion is computed, because comparing names is costly. */
const SUGGESTIONS_MAX = 8;

/** One sentence for each glob that matches no node, connected or gone. None when the broker does not answer. */
export async function unmatchedNodes(client: Client, globs: readonly string[]): Promise<string[]> {
  if (globs.length === 0) return [];
  const listed = await client.listNodes().catch(() => undefined);
  if (listed === undefined) return [];
  const names = listed.nodes.map(({ name }) => name);
  // Whoever publishes is no node, and nodes decide by themselves whether they have a label.
  const unmatched = globs.filter(
    (glob) => !glob.startsWith('@') && !isLabelSelector(glob) && !names.some(compileNodeGlobs([glob]).matches),
  );
  return unmatched.map((glob, at) => {
    if (/[*?]/.test(glob)) return `no node matches "${glob}"`;
    return `no node is called "${glob}"${at < SUGGESTIONS_MAX ? suggestion(glob, names) : ''}`;
  });
}
