/** The known name that was probably meant, by edit distance. */

/** Names longer than this are compared by their first part only: an error is not worth more. */
const COMPARED_CHARACTERS_MAX = 64;

/** The candidate nearest to `name`, or undefined when none is near enough to be worth a guess. */
function nearest(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = name.slice(0, COMPARED_CHARACTERS_MAX).toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = nameDistance(wanted, candidate.slice(0, COMPARED_CHARACTERS_MAX).toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `, did you mean "x"?`, or nothing. */
export function suggestion(name: string, candidates: Iterable<string>): string {
  const found = nearest(name, candidates);
  return found === undefined ? '' : `, did you mean "${found}"?`;
}

/** As editDistance, but a part of a dotted name that is cut short (`exe` for `executable`) counts as one edit. */
function nameDistance(a: string, b: string): number {
  const aParts = a.split('.');
  const bParts = b.split('.');
  if (aParts.length !== bParts.length || aParts.length === 1) return editDistance(a, b);
  return aParts.reduce((sum, part, i) => {
    const other = bParts[i]!;
    const cutShort = part.length > 1 && part !== other && other.startsWith(part);
    return sum + (cutShort ? 1 : editDistance(part, other));
  }, 0);
}

/** Insertions, deletions and replacements between two strings (Levenshtein). */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, above[j]! + 1, row[j - 1]! + 1));
    }
    above = row;
  }
  return above[b.length]!;
}
