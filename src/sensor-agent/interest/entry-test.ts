/** Builds the test for entries of a trace event that anybody asks for, from predicates and the catalogue. */
import { RAW_TEST_CONDITIONS_MAX } from '../../limits.js';
import type { Predicate } from '../../subscriptions/predicate.js';
import type { EventFormat } from '../source/pages/format.js';
import type { EntryTest } from '../source/pages/page.js';
import { ON_DEMAND } from '../timeline/syscall-events.js';
import { compileRawPredicate } from './raw-predicate.js';

/**
 * True: all are needed, as of every event that context follows from. False:
 * nobody asks for any. `candidates`: the predicates that may match a type.
 */
export function entryTest(
  format: EventFormat,
  candidates: (type: string) => readonly Predicate[],
): EntryTest | boolean {
  const entry = ON_DEMAND.get(`${format.group}/${format.name}`) ?? ON_DEMAND.get(format.name);
  if (!entry) return true;
  const asked = candidates(entry.type);
  if (asked.length > RAW_TEST_CONDITIONS_MAX) return true;
  return compileRawPredicate(
    asked.map((predicate) => predicate.rawForm(entry.type).expr),
    format,
  );
}
