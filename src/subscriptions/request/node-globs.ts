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

/** @throws BackplaneError invalid_argument. */
export function compileNodeGlobs(globs: readonly string[]): NodeGlobs {
  if (globs.length > NODE_GLOBS_MAX) {
    throw invalid('node', `at most ${NODE_GLOBS_MAX} names or globs may be given, got ${globs.length}`);
  }
  for (const glob of globs) {
    checkNameText('node', glob, GLOB, 'letters, digits, "_", ".", "-", "*" and "?", and not begin with "-"');
  }
  const distinct = [...new Set(globs)].sort();
  const exact = new Set(distinct.filter((glob) => !/[*?]/.test(glob)));
  const patterns = distinct.filter((glob) => !exact.has(glob)).map((glob) => glob.split(/\*+/));
  const every = distinct.length === 0;
  return {
    globs: distinct,
    matches: (name) => every || exact.has(name) || patterns.some((pieces) => matchesPieces(pieces, name)),
  };
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
