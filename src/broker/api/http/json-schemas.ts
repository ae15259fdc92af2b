/** The JSON Schemas of the public messages, as the build made them of the protos (scripts/json-schema.js). */
import { readFileSync } from 'node:fs';
import { builtFile } from '../../../package-files.js';

export interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly [keyword: string]: unknown;
}

export const REF_PREFIX = '#/components/schemas/';

let read: Readonly<Record<string, JsonSchema>> | undefined;

/** By message name. Read when first asked for. */
export function jsonSchemas(): Readonly<Record<string, JsonSchema>> {
  read ??= JSON.parse(readFileSync(builtFile('descriptors/json-schema.json'), 'utf8')) as Record<string, JsonSchema>;
  return read;
}

/** A property of a message or of one within it, by its path in JSON; undefined where there is none. */
export function propertyAt(message: string, path: string): JsonSchema | undefined {
  const [first = '', ...below] = path.split('.');
  const property = jsonSchemas()[message]?.properties?.[first];
  if (below.length === 0 || property?.$ref === undefined) return property;
  return propertyAt(property.$ref.slice(REF_PREFIX.length), below.join('.'));
}

/** The names of messages, and of all that their properties refer to. */
export function closureOf(messages: Iterable<string>): readonly string[] {
  const found = new Set<string>();
  const visit = (name: string) => {
    const schema = jsonSchemas()[name];
    if (schema === undefined || found.has(name)) return;
    found.add(name);
    for (const [, other] of JSON.stringify(schema).matchAll(/"#\/components\/schemas\/(\w+)"/g)) visit(other!);
  };
  for (const name of messages) visit(name);
  return [...found].sort();
}
