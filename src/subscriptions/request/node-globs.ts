/**
 * The nodes that a subscription selects: names or globs, any of which must match.
 *
 *   glob := (letter | digit | '_' | '.' | '-' | '*' | '?')+, not beginning with '-'
 *         | '@' (letter | digit | '_' | '.' | '-' | '*' | '?' | '/' | ':' | '@' | '%' | '~')*
 *
 * `@NAME` is no node but an identity that publishes events of its own.
 *
 * `*` is any run of characters, `?` is any one. Matching places the pieces between stars leftmost, one after the other,
 * and never goes back.
 */
import { invalid } from '../../errors.js';
import { NODE_GLOBS_MAX } from '../../limits.js';
import { checkNameText } from './names.js';

const GLOB = /^(?:[A-Za-z0-9_.*?][A-Za-z0-9_.*?-]*|@[A-Za-z0-9_.*?/:@%~-]*)$/;

export interface NodeGlobs {
  /** As given, sorted, each once. Empty: every node. */
  readonly globs: readonly string[];
  matches(name: string): boolean;
}

/** Shared by all who name none. */
const EVERY_NODE: NodeGlobs = { globs: [], matches: () => true };

/** @throws BackplaneError invalid_argument. */
export function compileNodeGlobs(globs: readonly string[]): NodeGlobs {
  if (globs.length === 0) return EVERY_NODE;
  if (globs.length > NODE_GLOBS_MAX) {
    throw invalid('node', `at most ${NODE_GLOBS_MAX} names or globs may be given, got ${globs.length}`);
  }
  for (const glob of globs) {
    checkNameText('node', glob, GLOB, 'letters, digits, "_", ".", "-", "*" and "?", and not begin with "-"');
  }
  const distinct = [...new Set(globs)].sort();
  return { globs: distinct, matches: compileGlobs(distinct) };
}

/** Whether a text is one of the names, or matches one of the globs. They are not checked; none match nothing. */
export function compileGlobs(globs: readonly string[]): (text: string) => boolean {
  const exact = new Set(globs.filter((glob) => !isGlob(glob)));
  const patterns = globs.filter(isGlob).map((glob) => glob.split(/\*+/));
  return (text) => exact.has(text) || patterns.some((pieces) => matchesPieces(pieces, text));
}

/** Whether it stands for names that it does not say. */
export function isGlob(glob: string): boolean {
  return /[*?]/.test(glob);
}

/** Marks of what bounds a selection: one of the first kind must match too, and none of the second. */
const WITHIN = '&';
const WITHOUT = '!';

/**
 * The nodes of a selection that are also within `within` and not within `without`. Its globs say so, with marks that no
 * request can give, so that it is told apart from the selection wherever globs are compared or kept.
 */
export function narrowNodes(
  { globs, matches }: NodeGlobs,
  within: readonly string[] | undefined,
  without: readonly string[],
): NodeGlobs {
  if (within === undefined && without.length === 0) return { globs, matches };
  // Where nothing is granted the mark alone stands for it.
  const inside = within === undefined ? [] : within.length === 0 ? [WITHIN] : within.map((glob) => WITHIN + glob);
  const marked = [...globs, ...inside, ...without.map((glob) => WITHOUT + glob)];
  const isWithin = within === undefined ? () => true : compileGlobs(within);
  const isWithout = compileGlobs(without);
  return { globs: marked, matches: (name) => matches(name) && isWithin(name) && !isWithout(name) };
}

/** A selection from its globs as they were kept, narrowed or not. @throws BackplaneError invalid_argument. */
export function keptNodeGlobs(marked: readonly string[]): NodeGlobs {
  const of = (mark: string) => marked.filter((glob) => glob.startsWith(mark)).map((glob) => glob.slice(1));
  const asked = unboundedGlobs(marked);
  const within = of(WITHIN).filter((glob) => glob !== '');
  for (const globs of [within, of(WITHOUT)]) compileNodeGlobs(globs);
  return narrowNodes(compileNodeGlobs(asked), of(WITHIN).length === 0 ? undefined : within, of(WITHOUT));
}

/** What was asked for, without what bounds it. */
export function unboundedGlobs(marked: readonly string[]): readonly string[] {
  return marked.filter((glob) => !glob.startsWith(WITHIN) && !glob.startsWith(WITHOUT));
}

/**
 * Whether all nodes of a kept selection are within `within` and not within `without`, as far as their texts tell: names
 * are tried, globs must be the same.
 */
export function coversNodes(
  marked: readonly string[],
  within: readonly string[] | undefined,
  without: readonly string[],
): boolean {
  const asked = unboundedGlobs(marked);
  const own = (mark: string) => marked.filter((glob) => glob.startsWith(mark)).map((glob) => glob.slice(1));
  const [inside, outside] = [own(WITHIN), own(WITHOUT)];
  const isWithin = compileGlobs(within ?? []);
  const areIn = (globs: readonly string[]) =>
    globs.length > 0 && globs.every((glob) => within?.includes(glob) || (!isGlob(glob) && isWithin(glob)));
  const isWithout = compileGlobs(without);
  const names = [asked, inside].find((globs) => globs.length > 0 && !globs.some(isGlob));
  return (
    (within === undefined || areIn(asked) || areIn(inside)) &&
    (without.every((glob) => outside.includes(glob)) || names?.some(isWithout) === false)
  );
}

/** For people: `prod-*, within web-*, without web-1`. */
export function nodeGlobsText(marked: readonly string[]): string {
  const words: Readonly<Record<string, string>> = { [WITHIN]: 'within ', [WITHOUT]: 'without ' };
  return marked.map((glob) => (words[glob[0]!] ?? glob[0]!) + glob.slice(1)).join(', ');
}

/** The pieces between a glob's stars; the first and the last are tied to the name's ends. */
function matchesPieces(pieces: readonly string[], name: string): boolean {
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  if (pieces.length === 1) return name.length === first.length && fits(first, name, 0);
  const end = name.length - last.length;
  if (end < first.length || !fits(first, name, 0) || !fits(last, name, end)) return false;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    while (at + piece.length <= end && !fits(piece, name, at)) at++;
    at += piece.length;
    if (at > end) return false;
  }
  return true;
}

function fits(piece: string, name: string, at: number): boolean {
  for (let i = 0; i < piece.length; i++) {
    if (piece[i] !== '?' && piece[i] !== name[at + i]) return false;
  }
  return true;
}
