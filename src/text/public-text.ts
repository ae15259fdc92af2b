/** Texts for callers, who need not know where on its machine a broker keeps its files. */
const names = new Map<string, string>();

/** From now on texts for callers have `name` in place of the directory's path. Returns a function that ends it. */
export function hideDirectory(path: string, name: string): () => void {
  // Of one that is the root nothing is to be hidden.
  if (path !== '/') names.set(path, name);
  return () => void names.delete(path);
}

/** Of an error. Who may not call is told where the token is, by the gate, and that only on the broker's own machine. */
export function publicMessage({ code, message }: { readonly code: string; readonly message: string }): string {
  return code === 'unauthenticated' ? message : publicText(message);
}

export function publicText(text: string): string {
  let told = text;
  for (const [path, name] of names) told = told.replaceAll(path, name);
  return told;
}
