/** The known name that was probably meant: by its last parts, else by edit distance. */

/** Only this many characters are compared: a suggestion is not worth more work. */
const COMPARED_CHARACTERS_MAX = 64;

/** The candidate nearest to `name`, or undefined when none is near enough to be worth a guess. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = comparable(name);
  if (wanted === '') return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = distanceOf(wanted, comparable(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `, did you mean "x"?`, or nothing. */
export function suggestion(name: string, candidates: Iterable<string>): string {
  return didYouMean(nearest(name, candidates));
}

/** The same for a name that nearest() found. */
export function didYouMean(found: string | undefined): string {
  return found === undefined ? '' : `, did you mean "${found}"?`;
}

/** `process.commandArgs` as `process.command_args`: JSON's spelling as the proto's, which is that of filters. */
export function snakePath(path: string): string {
  return path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The inverse: `process.command_args` as `process.commandArgs`. */
export function camelPath(path: string): string {
  return path.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Case and underscores say nothing about what was meant: `commandArgs` is `command_args`. */
function comparable(name: string): string {
  return name.slice(0, COMPARED_CHARACTERS_MAX).replaceAll('_', '').toLowerCase();
}

function distanceOf(wanted: string, candidate: string): number {
  const whole = nameDistance(wanted, candidate);
  const parts = candidate.split('.');
  const cut = parts.length - wanted.split('.').length;
  // "comm" means process.comm: the parts before the last ones were left out.
  return cut <= 0 ? whole : Math.min(whole, tailDistance(wanted, parts.slice(cut).join('.')));
}

/** Short names are near to too many others, so no letter of them may be wrong. */
function tailDistance(wanted: string, tail: string): number {
  if (wanted === tail) return 0;
  const common = tail.startsWith(wanted) ? wanted.length : wanted.startsWith(tail) ? tail.length : 0;
  // "exe" and "execve" are both near to "exec": a common beginning counts as one edit.
  if (common >= 3 && Math.abs(wanted.length - tail.length) <= common / 2) return 1;
  const distance = nameDistance(wanted, tail);
  return distance <= Math.floor(wanted.length / 4) ? distance : Number.POSITIVE_INFINITY;
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

/** Insertions, deletions, replacements and exchanges of neighbours between two strings (Levenshtein, Damerau). */
function editDistance(a: string, b: string): number {
  let twoAbove: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, above[j]! + 1, row[j - 1]! + 1));
      const exchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (exchanged) row[j] = Math.min(row[j]!, twoAbove[j - 2]! + 1);
    }
    twoAbove = above;
    above = row;
  }
  return above[b.length]!;
}
