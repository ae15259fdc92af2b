/** Values of a request, of any type until they are read here: absent ones are empty. */
import { invalid } from '../../errors.js';
import { shown } from '../../text/shown.js';

/** @throws BackplaneError invalid_argument, as the others do. */
export function textOf(field: string, value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw invalid(field, `must be text, got ${kindOf(value)}`);
  return value;
}

export function textsOf(field: string, value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  const odd = values.findIndex((each) => typeof each !== 'string');
  if (odd >= 0) throw invalid(field, `must be text or a list of texts, got ${kindOf(values[odd])}`);
  return values as readonly string[];
}

export function flagOf(field: string, value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '' || value === 'false' || value === '0') {
    return false;
  }
  if (value === true || value === 'true' || value === '1') return true;
  throw invalid(field, `must be true or false, got ${typeof value === 'string' ? shown(value) : kindOf(value)}`);
}

/** Counts: whole numbers that a double holds exactly. Text, as protobuf's JSON writes 64 bits, is read likewise. */
export function countOf(field: string, value: unknown, max: number): number {
  if (value === undefined || value === null || value === '') return 0;
  const count = typeof value === 'string' && /^[0-9]{1,20}$/.test(value) ? Number(value) : value;
  if (typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 && count <= max) return count;
  const got = typeof value === 'string' ? shown(value) : typeof value === 'number' ? String(value) : kindOf(value);
  throw invalid(field, `must be a whole number from 0 to ${max}, got ${got}`);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`;
}
