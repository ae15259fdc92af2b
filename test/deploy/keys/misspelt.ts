/** Files with one key misspelt, which whoever reads such a file must refuse. */
import { parse } from 'yaml';

/** A key that nobody knows. */
export const MISSPELT = 'xMisspelt';

type Path = readonly (string | number)[];

/** Whether the keys of the mapping at this path are the user's own, such as the names of services. */
export type IsFree = (path: string) => boolean;

export interface Misspelt {
  readonly key: string;
  /** Where it is, for messages. */
  readonly where: string;
  /** The same for keys of the same kind, such as that of each item of a list. */
  readonly kind: string;
}

/** Each key of a document that is not the user's own, by its path. */
function* keysOf(value: unknown, isFree: IsFree, path: Path = []): Generator<Path> {
  if (typeof value !== 'object' || value === null) return;
  const isOpen = Array.isArray(value) || isFree(path.join('.'));
  const entries = Array.isArray(value) ? value.map((item, at) => [at, item] as const) : Object.entries(value);
  for (const [key, part] of entries) {
    if (!isOpen) yield [...path, key];
    yield* keysOf(part, isFree, [...path, key]);
  }
}

/** The document once for each of its keys: there it is another one. */
export function* misspeltOnce(whole: object, isFree: IsFree): Generator<Misspelt & { readonly document: object }> {
  for (const path of keysOf(whole, isFree)) {
    const copy = structuredClone(whole);
    const at = path.slice(0, -1).reduce<Record<string, unknown>>((part, key) => part[key] as never, copy as never);
    const key = path.at(-1)!;
    at[MISSPELT] = at[key];
    delete at[key];
    const isOwn = (place: number) => typeof path[place] === 'number' || isFree(path.slice(0, place).join('.'));
    const kind = path.map((part, place) => (isOwn(place) ? '*' : part)).join('.');
    yield { key: String(key), where: path.join('.'), kind, document: copy };
  }
}

/** A text once for each of its keys that is misspelt. */
export type MisspeltTexts = Iterable<Misspelt & { readonly text: string }>;

/** Of a file of YAML, which JSON is, too. */
export function* misspeltYaml(text: string, isFree: IsFree = () => false): MisspeltTexts & Generator {
  const whole = parse(text, { merge: true }) as object;
  for (const { document, ...which } of misspeltOnce(whole, isFree)) yield { ...which, text: JSON.stringify(document) };
}

/** Of a configuration of nats-server: keys stand before a colon or a brace, outside of strings and comments. */
export function* misspeltNats(text: string): MisspeltTexts & Generator {
  const code = text.replace(/"[^"]*"|#.*/g, (other) => ' '.repeat(other.length));
  for (const { 0: key, index } of code.matchAll(/\w+(?=\s*[:{])/g)) {
    const where = `${key} in line ${text.slice(0, index).split('\n').length}`;
    yield { key, where, kind: where, text: text.slice(0, index) + MISSPELT + text.slice(index + key.length) };
  }
}
