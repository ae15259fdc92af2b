/** Documents with one key misspelt, which whoever checks documents must refuse. */

/** A key that no schema has. */
export const MISSPELT = 'xMisspelt';

type Path = readonly (string | number)[];

/** Each mapping of a document, by its path. */
function* mappings(value: unknown, path: Path = []): Generator<Path> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield path;
  const entries = Array.isArray(value) ? value.map((item, at) => [at, item] as const) : Object.entries(value);
  for (const [key, part] of entries) yield* mappings(part, [...path, key]);
}

/** The document once for each of its mappings whose keys are not free: there the last key is another. */
export function* misspeltOnce(
  whole: object,
  isFree: (path: Path) => boolean,
): Generator<{ path: Path; document: object }> {
  for (const path of mappings(whole)) {
    if (isFree(path)) continue;
    const copy = structuredClone(whole);
    const at = path.reduce<Record<string, unknown>>((part, key) => part[key] as Record<string, unknown>, copy as never);
    const key = Object.keys(at).at(-1);
    if (key === undefined) continue;
    at[MISSPELT] = at[key];
    delete at[key];
    yield { path: [...path, key], document: copy };
  }
}
