/** Random filters on the running kernel: what it accepts is what kernel-language.ts says. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatTable } from '../../../src/sensor-agent/source/pages/format.js';
import { PageEntries, readPageHeader, scanPage, startCursor } from '../../../src/sensor-agent/source/pages/page.js';
import { readPage } from '../../../src/sensor-agent/source/pages/page-read.js';
import { TraceInstance } from '../../../src/sensor-agent/source/tracefs/instance.js';
import { put } from '../../../src/sensor-agent/source/tracefs/put.js';
import { kernelFilter } from '../../../src/subscriptions/pushdown/kernel-filter.js';
import type { RawExpr } from '../../../src/subscriptions/pushdown/raw-expr.js';
import { type Entry, kernelAccepts } from '../../harness/filters/kernel-language.js';
import { rawExpr } from '../../harness/filters/raw-filters.js';
import { liveTracefs } from '../../harness/kernel/live-kernel.js';
import { runs } from '../../harness/runs.js';

const KILL = 'syscalls/sys_enter_kill';
const KILLED = 'syscalls/sys_exit_kill';
const RENAME = 'task/task_rename';
const live = liveTracefs();
const missing = [KILL, KILLED, RENAME].find((event) => !existsSync(join(live.path, 'events', event)));
const skip = live.skip || (missing ? `this kernel has no ${missing}` : false);

/** Beyond every pid that can be (2^22): nobody is hit. */
const NOBODY = 5_000_000;
const SCORE = '/proc/self/oom_score_adj';

/** One trace instance that is read at once, whole. */
class Trace {
  readonly #instance: TraceInstance;
  readonly #lanes: number[];
  readonly #formats: FormatTable;
  readonly #entries = new PageEntries();
  readonly #page: Buffer;

  constructor(name: string, events: readonly string[]) {
    this.#instance = new TraceInstance(live.path, {
      name: `${name}-${process.pid}`,
      bufferBytesPerCpu: 2 * 1024 * 1024,
      subBufferBytes: 4096,
      events,
    });
    this.#lanes = this.#instance.lanes.map((lane) => this.#instance.openPages(lane));
    this.#page = Buffer.alloc(this.#instance.subBufferBytes);
    this.#formats = FormatTable.parse(
      Object.fromEntries(events.map((event) => [event, this.#instance.formatText(event)])),
    );
  }

  format(event: string) {
    return this.#formats.byName(event)!;
  }

  filter(event: string, text: string): void {
    put(join(this.#instance.path, 'events', event, 'filter'), text);
  }

  /** What this process did since the last call, by event. */
  take(): Map<string, Entry[]> {
    const seen = new Map<string, Entry[]>();
    for (const fd of this.#lanes) {
      while (readPage(fd, this.#page) > 0) this.#scan(seen);
    }
    return seen;
  }

  #scan(seen: Map<string, Entry[]>): void {
    assert.equal(readPageHeader(this.#page).lost, 0);
    scanPage(this.#page, new Uint8Array(65_536).fill(1), startCursor(), this.#entries);
    for (let at = 0; at < this.#entries.count; at += 1) {
      const offset = this.#entries.offsets[at]!;
      if (this.#page.readInt32LE(offset + 4) !== process.pid) continue;
      const format = this.#formats.byId(this.#entries.ids[at]!)!;
      const values = Object.entries(format.decode(this.#page, offset, this.#entries.lengths[at]!));
      const numbers = values.filter(([, value]) => typeof value === 'number' || typeof value === 'bigint');
      const entry = Object.fromEntries(numbers.map(([name, value]) => [name, BigInt(value as bigint)]));
      const key = `${format.group}/${format.name}`;
      seen.set(key, [...(seen.get(key) ?? []), { ...entry, common_type: BigInt(format.id) }]);
    }
  }

  close(): void {
    for (const fd of this.#lanes) closeSync(fd);
    this.#instance.removeSync();
  }
}

interface Doing {
  readonly pids: readonly number[];
  readonly signals: readonly number[];
  readonly scores: readonly number[];
}

/** Calls that hit nobody, and a thread that gives itself a name. */
function act({ pids, signals, scores }: Doing): void {
  for (const [at, pid] of pids.entries()) {
    try {
      process.kill(pid, signals[at % signals.length]!);
    } catch {
      // Nobody there: what was to be traced is the call.
    }
  }
  for (const score of scores) {
    // Never below where it began: that takes a capability.
    writeFileSync(SCORE, String(score));
    process.title = `t${score}`;
  }
}

const doing: fc.Arbitrary<Doing> = fc.record({
  pids: fc.array(
    fc.oneof(fc.integer({ min: NOBODY, max: 2 ** 31 - 1 }), fc.integer({ min: -(2 ** 31) + 1, max: -NOBODY })),
    { minLength: 6, maxLength: 12 },
  ),
  signals: fc.array(fc.constantFrom(0, 1, 2, 9, 12, 64, 65), { minLength: 2, maxLength: 5 }),
  scores: fc.array(fc.constantFrom(1, 2, 9, 12, 443), { maxLength: 3 }),
});

function refsOf(trace: Trace, event: string, names: readonly string[]) {
  return names.map((field) => ({ ref: { field }, field: trace.format(event).field(field)! }));
}

test('the kernel accepts and evaluates filters as the evaluator does', { skip }, () => {
  const events = [KILL, KILLED, RENAME];
  const all = new Trace('filter-test-all', events);
  const some = new Trace('filter-test-some', events);
  const score = readFileSync(SCORE, 'utf8');
  const title = process.title;
  const tally = { passed: 0, kept: 0 };
  const conditions = fc.tuple(
    rawExpr(refsOf(all, KILL, ['pid', 'sig', '__syscall_nr'])),
    rawExpr(refsOf(all, KILLED, ['ret'])),
    rawExpr(refsOf(all, RENAME, ['oom_score_adj', 'pid'])),
  );
  // The evaluator covers what kernelFilter never writes, too: constants cut, `!`, redundant parentheses.
  const written = fc.constantFrom('T', '!(T)', '!((T) && pid != 7)', '(T) || pid == 4294967305', 'pid == 7 || !!(T)');
  try {
    fc.assert(
      fc.property(conditions, written, doing, (exprs, form, given) => {
        const texts = exprs.map((expr, at) => {
          const format = all.format(events[at]!);
          const text = kernelFilter([expr as RawExpr], format) ?? 'common_type != 0';
          return events[at] === KILLED ? text : form.replace('T', text);
        });
        for (const [at, text] of texts.entries()) some.filter(events[at]!, text);
        all.take();
        some.take();
        act(given);
        const done = all.take();
        const kept = some.take();
        assert.ok((done.get(KILL)?.length ?? 0) >= given.pids.length, 'every call is seen');
        for (const [at, event] of events.entries()) {
          const format = all.format(event);
          const fields = {
            ...Object.fromEntries(format.fields.map((field) => [field.name, field])),
            common_type: { sizeBytes: 2, signed: false },
          };
          const expected = (done.get(event) ?? []).filter((entry) => kernelAccepts(texts[at]!, fields, entry));
          assert.deepEqual(kept.get(event) ?? [], expected, `${event}: ${texts[at]}`);
          tally.passed += expected.length;
          tally.kept += (done.get(event) ?? []).length - expected.length;
        }
      }),
      { numRuns: runs(100), includeErrorInReport: true },
    );
    assert.ok(tally.passed > 300 && tally.kept > 300, JSON.stringify(tally));
  } finally {
    writeFileSync(SCORE, score);
    process.title = title;
    all.close();
    some.close();
  }
});
