/** The fields that filters can name, as people and editors want to know them. */

import { protoPath } from '../../../subscriptions/fields.js';
import { DYNAMIC_NAMES } from '../../../subscriptions/filter/dynamic.js';
import { FIELDS } from '../../../subscriptions/filter/schema.js';
import { camelPath } from '../../../text/nearest.js';
import { NAMED_FIELDS } from '../../../wire/event/field-mask.js';
import type { ListFieldsResponse } from '../../../wire/messages.js';
import { propertyAt } from './json-schemas.js';

export function listFields(): ListFieldsResponse {
  const fields = [...FIELDS.values()].map(({ name, type }) => {
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
