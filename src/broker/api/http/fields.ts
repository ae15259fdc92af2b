/** The fields that filters can name, as people and editors want to know them. */

import { protoPath } from '../../../subscriptions/fields.js';
import { DYNAMIC_NAMES } from '../../../subscriptions/filter/dynamic.js';
import { FIELDS } from '../../../subscriptions/filter/schema.js';
import { camelPath } from '../../../text/nearest.js';
import { NAMED_FIELDS } from '../../../wire/event/field-mask.js';
import type { ListFieldsResponse } from '../../../wire/messages.js';
import { propertyAt } from './json-schemas.js';

/** Known where the events are, and not part of them. */
const NOT_IN_EVENTS: ReadonlyMap<string, string> = new Map([
  ['host.labels', 'Labels of the node, "key=value", as its own settings have them. Not part of events.'],
]);

export function listFields(): ListFieldsResponse {
  const fields = [...FIELDS.values()].map(({ name, type }) => {
    const elsewhere = NOT_IN_EVENTS.get(name);
    if (elsewhere !== undefined) return { name, type, description: elsewhere, jsonPath: '', onlyNamed: false };
    // Filters have the six arguments of a call one by one.
    const [, index] = /^syscall\.arg(\d)$/.exec(name) ?? [];
    const path = index === undefined ? protoPath(name, 'fields') : 'syscall.args';
    const jsonPath = camelPath(path) + (index === undefined ? '' : `[${index}]`);
    const description = propertyAt('Event', camelPath(path))?.description ?? '';
    return { name, type, description, jsonPath, onlyNamed: NAMED_FIELDS.includes(path) };
  });
  const dynamic = DYNAMIC_NAMES.map((name) => {
    const jsonPath = camelPath(name);
    const description = propertyAt('Event', jsonPath)?.description ?? '';
    return { name, type: 'dyn', description, jsonPath, onlyNamed: false };
  });
  return { fields: [...fields, ...dynamic] };
}
