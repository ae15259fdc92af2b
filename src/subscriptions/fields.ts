/**
 * The fields that a subscription asks for, in canonical form: paths as in the
 * proto, sorted, each once, none below another. JSON's names are taken too.
 */
import { BackplaneError } from '../errors.js';
import { FIELDS_MAX } from '../limits.js';
import { EVENT_FIELDS } from '../wire/field-mask.js';
import { suggestion } from './nearest.js';
import { shown } from './shown.js';

/** What stands beside the events of a batch comes anyway. */
const BESIDE: ReadonlySet<string> = new Set(['topic', 'node']);

/** @throws BackplaneError invalid_argument naming an unknown path and the nearest known one. None: every field. */
export function checkFields(given: readonly string[], field = 'fields'): readonly string[] {
  if (given.length > FIELDS_MAX) {
    throw new BackplaneError('invalid_argument', `${field}: must be at most ${FIELDS_MAX}, got ${given.length}`);
  }
  const paths = [...new Set(given.map((path) => fieldPath(path, field)))].filter((path) => !BESIDE.has(path)).sort();
  if (paths.length === 0) return given.length === 0 ? [] : ['type'];
  return paths.filter((path) => !paths.some((other) => path.startsWith(`${other}.`)));
}

function fieldPath(given: string, field: string): string {
  const path = given.trim().replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  if (/^raw\.fields\.[^.]+$/.test(path)) return 'raw.fields';
  if (EVENT_FIELDS.some((leaf) => leaf === path || leaf.startsWith(`${path}.`))) return path;
  throw new BackplaneError(
    'invalid_argument',
    `${field}: unknown field ${shown(given.trim())}${suggestion(path, EVENT_FIELDS)}`,
  );
}
