/**
 * Texts for callers, who need not know where on its machine a broker keeps its files. Brokers of one process share what is
 * hidden: each has a directory of its own, so that none finds another's path in its texts but by chance.
 */

interface Hidden {
  readonly path: string;
  readonly pattern: RegExp;
  readonly name: string;
}

/** The longest path first, as one may be within another. */
let hidden: readonly Hidden[] = [];

/** From now on texts for callers have `name` in place of the directory's path. Returns a function that ends it. */
export function hideDirectory(path: string, name: string): () => void {
  // Of one that is the root nothing is to be hidden.
  if (path === '/') return () => undefined;
  // Not where a longer name begins so.
  const pattern = new RegExp(`${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w-])`, 'g');
  const own: Hidden = { path, pattern, name };
  hidden = [...hidden, own].sort((a, b) => b.path.length - a.path.length);
  return () => {
    hidden = hidden.filter((each) => each !== own);
  };
}

/** Of an error. Who may not call is told where the token is, by the gate, and that only on the broker's own machine. */
export function publicMessage({ code, message }: { readonly code: string; readonly message: string }): string {
  return code === 'unauthenticated' ? message : publicText(message);
}

export function publicText(text: string): string {
  return hidden.reduce((told, { pattern, name }) => told.replace(pattern, () => name), text);
}
