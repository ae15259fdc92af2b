/** The YAML configuration file, flattened to the text of each setting by its key. */
import { parse as parseYaml } from 'yaml';
import { BackplaneError } from '../errors.js';
import * as limits from '../limits.js';
import { readBoundedFile, readFailure } from '../storage/bounded-file.js';
import { suggestion } from '../text/nearest.js';
import { SETTING_KEYS, SETTINGS, type SettingKey } from './settings.js';

type Refuse = (reason: string) => BackplaneError;

/**
 * @throws BackplaneError invalid_argument: unreadable, too long, not YAML, an unknown key, a value of the wrong form.
 */
export function readConfigFile(path: string): Record<string, string> {
  const refuse = (reason: string) => new BackplaneError('invalid_argument', `configuration file ${path}: ${reason}`);
  let text: string;
  try {
    text = readBoundedFile(path, limits.CONFIG_BYTES_MAX).toString('utf8');
  } catch (cause) {
    throw refuse(readFailure(cause));
  }
  let document: unknown;
  try {
    // Otherwise the parser prints warnings itself, with their place in the file.
    document = parseYaml(text, { maxAliasCount: 0, logLevel: 'error' });
  } catch (cause) {
    throw refuse(cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause));
  }
  const flat: Record<string, string> = {};
  if (document !== null && document !== undefined) flatten(document, '', flat, refuse);
  return flat;
}

function flatten(value: unknown, path: string, into: Record<string, string>, refuse: Refuse): void {
  const known = Object.hasOwn(SETTINGS, path) ? SETTINGS[path as SettingKey] : undefined;
  if (known !== undefined) {
    into[path] = 'data' in known ? JSON.stringify(value) : scalarText(value, path, 'list' in known, refuse);
    return;
  }
  if (path !== '' && !SETTING_KEYS.some((key) => key.startsWith(`${path}.`))) {
    throw refuse(`unknown key ${JSON.stringify(path)}${suggestion(path, SETTING_KEYS)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refuse(`${path === '' ? 'the file' : path} must hold keys`);
  }
  for (const [name, part] of Object.entries(value)) flatten(part, path === '' ? name : `${path}.${name}`, into, refuse);
}

function scalarText(value: unknown, key: string, isList: boolean, refuse: Refuse): string {
  const scalar = (item: unknown) => ['string', 'number', 'boolean', 'bigint'].includes(typeof item);
  if (scalar(value)) return String(value);
  if (isList && Array.isArray(value) && value.every(scalar)) return value.join(',');
  throw refuse(`${key} must be ${isList ? 'a list or text' : 'a number, text, true or false'}`);
}
