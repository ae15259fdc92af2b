/** Selects which entries of pages scanPage notes and which it skips, by event id. */
import type { EventFormat, FormatTable } from '../source/pages/format.js';
import { type EntryTest, FIRST_TEST, NOTED, TESTS_MAX } from '../source/pages/page.js';
import { ON_DEMAND } from '../timeline/syscall-events.js';
import type { TimelineInterest } from '../timeline/timeline-sink.js';

export class EntrySelection {
  wanted: Uint8Array = new Uint8Array(65_536);
  tests: readonly EntryTest[] = [];
  #onDemand: { readonly format: EventFormat; readonly type: string }[] = [];

  /** Types whose entries may be skipped, as no context follows from them. */
  get types(): readonly string[] {
    return this.#onDemand.map(({ type }) => type);
  }

  /** Formats of events that are only noted where somebody asks. */
  get formats(): readonly EventFormat[] {
    return this.#onDemand.map(({ format }) => format);
  }

  /** Begins another recording, in which the events named are always noted. */
  begin(table: FormatTable, always: readonly string[], interest: TimelineInterest): void {
    this.wanted = table.wanted(always);
    this.#onDemand = [...ON_DEMAND].flatMap(([name, { type }]) => {
      const format = table.byName(name);
      return format ? [{ format, type }] : [];
    });
    this.renew(interest);
  }

  /** Applies another interest from the next page on. */
  renew(interest: TimelineInterest): void {
    const tests: EntryTest[] = [];
    for (const { format } of this.#onDemand) {
      const test = interest.entryTest(format);
      if (test === false) this.wanted[format.id] = 0;
      else if (test === true || tests.length === TESTS_MAX) this.wanted[format.id] = NOTED;
      else this.wanted[format.id] = FIRST_TEST + tests.push(test) - 1;
    }
    this.tests = tests;
  }
}
