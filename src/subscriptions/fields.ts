/**
 * The fields that a subscription asks for, in canonical form: paths as in the
 * proto, sorted, each once, none below another. JSON's names are taken too.
 */
import { invalid } from '../errors.js';
import { FIELDS_MAX } from '../limits.js';
import { didYouMean, nearest, snakePath } from '../text/nearest.js';
import { shown } from '../text/shown.js';
import { EVENT_FIELDS, NAMED_FIELDS } from '../wire/event/field-mask.js';

/** Fields of the batch, which are delivered in any case. */
const BESIDE: ReadonlySet<string> = new Set(['topic', 'node']);

/** @throws BackplaneError invalid_argument naming an unknown path and the nearest known one. None: the usual fields. */
export function checkFields(given: readonly string[], field = 'fields'): readonly string[] {
  if (given.length > FIELDS_MAX) {
    throw invalid(field, `must be at most ${FIELDS_MAX}, got ${given.length}`);
  }
  const paths = [...new Set(given.map((path) => fieldPath(path, field)))].filter((path) => !BESIDE.has(path)).sort();
  if (paths.length === 0) return given.length === 0 ? [] : ['type'];
  // What comes only where it is named is not named by a message above it.
  return paths.filter((path) => NAMED_FIELDS.includes(path) || !paths.some((other) => path.startsWith(`${other}.`)));
}

/** Filters use OpenTelemetry's names for these; a batch carries some of them beside its events. */
const FILTER_NAMES: ReadonlyMap<string, string> = new Map([
  ['event.type', 'type'],
  ['event.time', 'time'],
  ['event.topic', 'topic'],
  ['host.name', 'node'],
  ['app.type', 'type'],
]);

/**
 * A field as the proto names it, from any of its names: those of the proto, of JSON and of filters.
 * @throws BackplaneError invalid_argument naming `field`, the unknown path and the nearest known one.
 */
export function protoPath(given: string, field: string): string {
  const name = given.trim();
  // Names below raw.fields are the kernel's own and keep their spelling.
  if (/^raw\.fields\.[^.]+$/.test(name)) return name;
  const snake = snakePath(name);
  const path = FILTER_NAMES.get(snake) ?? snake;
  if (EVENT_FIELDS.some((leaf) => leaf === path || leaf.startsWith(`${path}.`))) return path;
  const near = nearest(path, [...EVENT_FIELDS, ...FILTER_NAMES.keys()]);
  throw invalid(field, `unknown field ${shown(name)}${didYouMean(near)}`, { suggestion: near });
}

function fieldPath(given: string, field: string): string {
  const path = protoPath(given, field);
  return path.startsWith('raw.fields.') ? 'raw.fields' : path;
}
