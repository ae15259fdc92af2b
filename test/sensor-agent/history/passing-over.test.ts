/** A query that passes over stretches in which nothing is sought has the answer of one that follows them all. */
import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { HistoryQuery } from '../../../src/sensor-agent/history/history-query.js';
import { HistoryTurns } from '../../../src/sensor-agent/history/history-turns.js';
import type { HistoryWindow } from '../../../src/sensor-agent/history/history-window.js';
import { execTest, soughtBy } from '../../../src/sensor-agent/history/sought.js';
import { wholeAnchors } from '../../../src/sensor-agent/recorder/anchors.js';
import type { PassOver } from '../../../src/sensor-agent/recorder/passing/passing.js';
import { BUILTIN_FORMATS } from '../../../src/sensor-agent/source/builtin-formats.js';
import { FormatTable } from '../../../src/sensor-agent/source/pages/format.js';
import { PageWriter } from '../../../src/sensor-agent/source/synthetic/page-writer.js';
import { TYPED_TRACE_EVENTS } from '../../../src/sensor-agent/timeline/kernel-events.js';
import { onDemandType } from '../../../src/sensor-agent/timeline/syscall-events.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import type { HistoryFrame } from '../../../src/wire/frame/history-frame.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { FILTERS } from '../../harness/history-filters.js';
import { CHANGING, changingStep, formatText, RecordingDriver } from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

const CALL = 'int __syscall_nr;	offset:8;	size:4;	signed:1';
const OPENS = FormatTable.parse({
  'syscalls/sys_enter_openat': formatText('sys_enter_openat', 700, [
    CALL,
    'int dfd;	offset:16;	size:8;	signed:0',
    'const char * filename;	offset:24;	size:8;	signed:0',
    'int flags;	offset:32;	size:8;	signed:0',
    'umode_t mode;	offset:40;	size:8;	signed:0',
  ]),
  'syscalls/sys_exit_openat': formatText('sys_exit_openat', 701, [CALL, 'long ret;	offset:16;	size:8;	signed:1']),
  'backplane/path_open': formatText('path_open', 702, [
    'char path[16];	offset:8;	size:16;	signed:0',
    'u32 flags;	offset:24;	size:4;	signed:0',
    'u32 mode;	offset:28;	size:4;	signed:0',
  ]),
});
const FORMATS = { ...BUILTIN_FORMATS.texts(), ...CHANGING.formats, ...OPENS.texts() };

const pid = fc.integer({ min: 1, max: 6 });
const happening = fc.oneof(
  { weight: 6, arbitrary: fc.record({ is: fc.constant('drain' as const), step: changingStep }) },
  { weight: 3, arbitrary: fc.record({ is: fc.constantFrom('begins', 'path', 'returns'), pid }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constantFrom('checkpoint', 'quiet') }) },
  { weight: 1, arbitrary: fc.record({ is: fc.constantFrom('late', 'notice', 'loses', 'over', 'full', 'report') }) },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

const asked = fc.record({
  filter: fc.constantFrom(...FILTERS),
  topics: fc.constantFrom<string[][]>(['process'], ['process', 'syscall'], ['syscall'], ['file'], ['host'], []),
  since: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  until: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  last: fc.constantFrom(0, 0, 0, 1, 5),
});

type Question = typeof asked extends fc.Arbitrary<infer T> ? T : never;

class Story {
  readonly files = new FaultyFiles();
  readonly driver = new RecordingDriver(scratchDirectory('passing'), undefined, this.files.ops, undefined, {
    formats: FORMATS,
  });

  happen(what: Happening): void {
    const { driver } = this;
    const { recorder } = driver;
    const at = { reason: 'overhead' as const, from: recorder.timeline.frontier, message: 'm' };
    if (what.is === 'drain') {
      driver.step(what.step);
      if (what.step.crash) driver.crash();
    } else if ('pid' in what) this.#opens(what.is, what.pid);
    else if (what.is === 'checkpoint') recorder.log.roll();
    else if (what.is === 'late') driver.late('exit');
    else if (what.is === 'notice')
      recorder.notice('host.degraded', { reason: 'r', message: 'm', source: 'tracefs' }, driver.nowNs);
    else if (what.is === 'loses') recorder.lose({ ...at, goesOn: true }, driver.nowNs);
    else if (what.is === 'over')
      for (const { stated } of recorder.timeline.openLosses) recorder.lose({ ...stated, goesOn: false }, driver.nowNs);
    else if (what.is === 'full') this.files.space = 300;
    else if (what.is === 'report') this.#report();
    else for (let round = 0; round < 6; round += 1) this.#syscalls(30);
  }

  finish(): void {
    this.#report();
    this.driver.finish();
  }

  #report(): void {
    this.files.space = Number.POSITIVE_INFINITY;
    this.driver.recorder.reportLoss('tracefs', this.driver.nowNs);
  }

  #syscalls(count: number): void {
    const format = BUILTIN_FORMATS.byName('sys_enter')!;
    this.#page(
      Array.from({ length: count }, () => ({ format, values: { id: 1n } })),
      9,
    );
  }

  #opens(is: string, of: number): void {
    const name = is === 'begins' ? 'sys_enter_openat' : is === 'path' ? 'path_open' : 'sys_exit_openat';
    const values = {
      path: `/etc/p${of}`,
      flags: is === 'path' ? 1 : 1n,
      mode: is === 'path' ? 1 : 1n,
      dfd: 0n,
      ret: 3n,
    };
    const format = OPENS.byName(name)!;
    const own = Object.fromEntries(Object.entries(values).filter(([field]) => format.field(field) !== undefined));
    this.#page([{ format, values: own }], of);
  }

  #page(entries: readonly Pick<Parameters<PageWriter['append']>[0], 'format' | 'values'>[], of: number): void {
    const { driver } = this;
    const writer = new PageWriter(64 * 1024);
    for (const entry of entries) {
      driver.nowNs += 100n;
      writer.append({ ...entry, timeNs: driver.nowNs, pid: of });
    }
    driver.recorder.page({ lane: of % 3, bytes: writer.take()!, lost: 0, lostUnknown: false });
    driver.nowNs += 1_000n;
    driver.recorder.horizon(driver.nowNs);
    driver.nowNs += 10n;
  }
}

/** The frames of an answer, and how it ended. */
async function ask({ recorder }: RecordingDriver, requests: readonly Asked[], passOver: PassOver) {
  const predicates = requests.map((request, at) => {
    return { id: BigInt(at + 1), predicate: compilePredicate({ ...request, includeSelf: true }) };
  });
  const frames: HistoryFrame[] = [];
  const outlet = { send: (frame: HistoryFrame) => frames.push(frame), ready: async () => {} };
  const { signal } = new AbortController();
  const { window } = requests[0]!;
  const query = new HistoryQuery(recorder, predicates, window, outlet, signal, new HistoryTurns(1), passOver);
  return { frames, result: await query.run() };
}

/** @param setBack whether the clock was: then a window may end, begin again and end again */
async function answer(driver: RecordingDriver, request: Asked, passOver: PassOver, setBack = false) {
  const { window } = request;
  const { frames, result: told } = await ask(driver, [request], passOver);
  const { entriesScanned, coveredToNs, lost, lostUnknown, incomplete, ...others } = told;
  // A window that ends before the recording is read a step beyond its end, and where a step ends depends on the way.
  const ends = window.untilNs === undefined && window.last === 0;
  const scanned = ends ? { entriesScanned, coveredToNs } : {};
  const result = { ...others, ...scanned, ...(ends || !setBack ? { lost, lostUnknown, incomplete } : {}) };
  const events = frames.flatMap((frame) => Array.from(frame.timesNs, (_, at) => nameOf(frame, at)));
  return { events, bytes: Buffer.concat(frames.map((frame) => frame.events)).toString('base64'), result };
}

function nameOf({ timesNs, lanes, ties }: HistoryFrame, at: number): string {
  return `${timesNs[at]} ${lanes[at]} ${ties[at]}`;
}

interface Asked {
  readonly topics: readonly string[];
  readonly filter: string;
  readonly window: HistoryWindow;
}

function request(driver: RecordingDriver, { filter, topics, since, until, last }: Question): Asked {
  const { timeline } = driver.recorder;
  const begin = timeline.wallNs(1_000_000_000n);
  const end = timeline.wallNs(timeline.frontier.timeNs);
  const at = (share: number | undefined) =>
    share === undefined ? undefined : begin + (BigInt(Math.round(share * 1e6)) * (end - begin)) / 1_000_000n;
  const window = { sinceNs: at(since), untilNs: at(until), after: undefined, upTo: timeline.frontier, last };
  return { topics, filter, window };
}

/** Flips a bit somewhere in a segment. */
function damage({ recorder }: RecordingDriver, segment: number, where: number): void {
  const segments = recorder.log.segments();
  const fd = openSync(segments[Math.floor(segment * (segments.length - 1))]!.path, 'r+');
  const at = Math.floor(where * (fstatSync(fd).size - 1));
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  byte[0]! ^= 4;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

const share = fc.double({ min: 0, max: 1, noNaN: true });
const story = fc.record({
  happenings: fc.array(happening, { minLength: 10, maxLength: 60 }),
  questions: fc.array(asked, { minLength: 4, maxLength: 4 }),
  damaged: fc.option(fc.tuple(share, share), { nil: undefined, freq: 4 }),
});

type Step = Extract<Happening, { is: 'drain' }>['step'];
const drain = (crash: boolean, wallStepNs: 0n | -3_600_000_000_000n, more: Partial<Step> = {}): Happening => {
  return { is: 'drain', step: { ...EMPTY, crash, wallStepNs, ...more } };
};
const EMPTY = { entries: [], looked: undefined, named: undefined, lost: 0 as const };
const call = (is: 'begins' | 'returns'): Happening => ({ is, pid: 1 });
const everything: Question = { filter: '', topics: [], since: undefined, until: undefined, last: 0 };
/** A clock that is set back by an hour behind an event that only some ask for. */
const SET_BACK = {
  happenings: [
    ...[call('returns'), drain(true, -3_600_000_000_000n), call('begins')],
    ...Array.from({ length: 5 }, () => drain(false, 0n)),
    ...[call('begins'), drain(false, 0n), call('begins'), call('begins')],
  ],
  questions: [everything],
  damaged: undefined,
};

const exec = (pid: number) => ({ lane: 0, afterNs: 0n, pid, what: 'exec', read: 'at once' }) as const;
/** The oldest checkpoint there is was written while execs waited whose pages are gone; the next one has what they left. */
const WAITED = {
  happenings: [
    ...[
      drain(true, 0n, { named: 'at once' }),
      { is: 'full' as const },
      drain(false, 0n, { looked: 1 }),
      ...[1, 2, 3].map(() => call('begins')),
    ],
    ...[drain(true, 0n, { entries: [exec(1), exec(1)] }), call('begins'), call('begins')],
    ...[drain(false, 0n, { named: 'at once' }), { is: 'checkpoint' as const }],
    ...[drain(false, 0n, { entries: [exec(2)], named: 'at once' }), call('begins')],
  ],
  questions: [{ ...everything, topics: ['process'] }],
  damaged: undefined,
};

const named = { named: 'at once' } as const;
/** The clock is set back before anything was read: what it said until then was no event's time, and ends no window. */
const SET_BACK_FIRST = {
  happenings: [
    ...[drain(false, -3_600_000_000_000n, named), { is: 'quiet' as const }],
    ...[drain(false, 0n, { entries: [exec(1)], ...named }), { is: 'checkpoint' as const }],
    drain(true, -3_600_000_000_000n, { entries: [exec(1)], ...named }),
  ],
  ...{ questions: [{ ...everything, topics: ['process'], until: 0 }], damaged: undefined },
};

const EXIT_OF_X1 = 'process.executable.name.contains("x1") && event.type == "process.exit"';
/** What was lost comes behind the first end of a window that the clock entered again as it was set back. */
const LOST_LATER = {
  happenings: [
    ...[{ is: 'checkpoint' as const }, drain(false, -3_600_000_000_000n, { named: 'at once' })],
    ...[drain(false, 0n, { named: 'at once' }), call('begins'), call('begins')],
    ...[drain(false, 0n, { entries: [exec(1)], looked: 1, named: 'at once' }), call('begins')],
    drain(false, 0n, {
      entries: [exec(1), { lane: 1, afterNs: 0n, pid: 2, what: 'move', read: 'at once' }],
      ...{ looked: 3, named: 'at once' },
    }),
    ...[call('begins'), drain(false, 0n, { entries: [exec(1)], named: 'at once', lost: 5, wallStepNs: 1_000_000n })],
    drain(true, 0n),
  ],
  questions: [{ ...everything, filter: EXIT_OF_X1, topics: ['process'], until: 0.0000095 }],
  damaged: undefined,
};

test('random recordings with losses, holes, late entries and open calls: the same answers', async () => {
  await fc.assert(
    fc.asyncProperty(story, async ({ happenings, questions, damaged }) => {
      const told = new Story();
      for (const each of happenings) told.happen(each);
      told.finish();
      const { driver } = told;
      const setBack = happenings.some((each) => each.is === 'drain' && each.step.wallStepNs < 0n);
      if (damaged) damage(driver, ...damaged);
      for (const each of questions) {
        const what = request(driver, each);
        const followed = await answer(driver, what, 'never', setBack);
        assert.deepEqual(await answer(driver, what, 'wherever', setBack), followed, JSON.stringify(each));
        assert.deepEqual(await answer(driver, what, 'pays', setBack), followed, JSON.stringify(each));
      }
      await driver.recorder.close();
    }),
    { numRuns: runs(15), examples: [[SET_BACK], [SET_BACK_FIRST], [WAITED], [LOST_LATER]] },
  );
});

test('several predicates in one query: each event once, with exactly those that alone would have had it', async () => {
  const processes = { ...everything, topics: ['process'] };
  // The window is that of the first.
  const several = fc
    .tuple(fc.array(asked, { minLength: 2, maxLength: 4 }), fc.boolean())
    .map(([some, withAll]) => (withAll ? [everything, processes, ...some] : some));
  let shared = 0;
  await fc.assert(
    fc.asyncProperty(story, several, async ({ happenings }, questions) => {
      const told = new Story();
      for (const each of happenings) told.happen(each);
      told.finish();
      const { driver } = told;
      const { window } = request(driver, questions[0]!);
      const requests = questions.map((each) => ({ ...request(driver, each), window }));
      const { frames } = await ask(driver, requests, 'pays');
      const names = frames.flatMap((frame) => Array.from(frame.timesNs, (_, at) => nameOf(frame, at)));
      assert.equal(new Set(names).size, names.length, 'each once');
      const named = new Set<string>();
      for (const [at, each] of requests.entries()) {
        const found: string[] = [];
        for (const frame of frames) {
          const match = frame.matches.find(({ predicateId }) => predicateId === BigInt(at + 1));
          const indices = match?.all ? frame.eventSizes.keys() : (match?.indices ?? []);
          for (const index of indices) found.push(nameOf(frame, index));
        }
        const alone = await answer(driver, { ...each, window: { ...window, last: 0 } }, 'never');
        assert.deepEqual(
          found,
          alone.events.filter((name) => window.last === 0 || names.includes(name)),
          each.filter,
        );
        for (const name of found) {
          shared += named.has(name) ? 1 : 0;
          named.add(name);
        }
      }
      assert.equal(named.size, names.length, 'each matches something');
      if (window.last > 0) assert.ok(names.length <= window.last);
      await driver.recorder.close();
    }),
    // Equal ones are one predicate with two ids.
    { numRuns: runs(15), examples: [[SET_BACK, [everything, everything]]] },
  );
  assert.ok(shared > 0, 'some match several');
});

test('what is always followed is told by events of its own, none of which is switched on while asked for', () => {
  const nothing = compilePredicate({ topics: ['host'], filter: '', includeSelf: true });
  const { needs } = soughtBy([nothing], () => true);
  for (const name of TYPED_TRACE_EVENTS) {
    assert.deepEqual(needs(name), [], `${name}: not sought`);
    assert.equal(onDemandType(name), undefined, name);
  }
  assert.notDeepEqual(needs('sys_enter_openat'), [], 'all others are sought');
});

test('a recording of which nothing is sought is passed over whole', async () => {
  const told = new Story();
  for (let round = 0; round < 40; round += 1) told.happen({ is: 'quiet' });
  told.finish();
  const { driver } = told;
  assert.ok([...wholeAnchors(driver.recorder.log)].length > 5);
  const what = { topics: ['process'], filter: '', window: { ...request(driver, NOTHING).window } };
  const { result } = await answer(driver, what, 'wherever');
  assert.equal(result.entriesScanned, 40 * 180);
  await driver.recorder.close();
});

test('of many execs in stretches of their own the one that is asked for is found, whatever else runs', async () => {
  const told = new Story();
  const drain = (what: 'exec' | 'exit', of: number): Happening => ({
    is: 'drain',
    step: { ...QUIET, entries: [{ lane: 1, afterNs: 900n, pid: of, what, read: 'at once' }] },
  });
  for (let at = 1; at <= 12; at += 1) {
    told.happen({ is: 'quiet' });
    told.happen(drain('exec', at));
    told.happen({ is: 'checkpoint' });
    if (at % 4 === 0) told.happen(drain('exit', at - 2));
  }
  told.finish();
  for (let at = 1; at <= 12; at += 1) {
    const filter = `process.command_args[1] == "--sequence=${at}"`;
    const what = { ...request(told.driver, NOTHING), filter };
    const passed = await answer(told.driver, what, 'wherever');
    assert.deepEqual(passed, await answer(told.driver, what, 'never'));
    assert.equal(passed.events.length, at % 4 === 2 ? 2 : 1, `its exec, and its end: ${at}`);
  }
  await told.driver.recorder.close();
});

test('an exec that matches passes the test of its arguments', () => {
  const args = fc.array(fc.constantFrom('/bin/x', '--sequence=3', '--sequence=12', '--sequence=1', 'x', ''));
  let failed = 0;
  fc.assert(
    fc.property(fc.constantFrom(...FILTERS), fc.option(args, { nil: undefined }), (filter, commandArgs) => {
      const predicate = compilePredicate({ topics: ['process'], filter, includeSelf: true });
      const position = { epoch: 1, timeNs: 1n, lane: 0, tie: 0 };
      const process = { pid: 7, commandArgs };
      const passes = execTest([predicate])?.(commandArgs) ?? true;
      if (!passes) failed += 1;
      const matches = predicate.matches({ type: 'process.exec', topic: 'process', position, wallNs: 1n, process });
      assert.ok(passes || !matches, filter);
    }),
    { numRuns: runs(500) },
  );
  assert.ok(failed > 0, 'some are left out');
});

test('an open that begins in one stretch and returns in a later one keeps its path', async () => {
  const told = new Story();
  told.happen({ is: 'begins', pid: 3 });
  told.happen({ is: 'path', pid: 3 });
  for (let round = 0; round < 12; round += 1) {
    told.happen({ is: 'checkpoint' });
    told.happen({ is: 'quiet' });
  }
  told.happen({ is: 'returns', pid: 3 });
  told.finish();
  const what = { ...request(told.driver, NOTHING), topics: ['file'], filter: 'file.path == "/etc/p3"' };
  const passed = await answer(told.driver, what, 'wherever');
  assert.equal(passed.events.length, 1);
  assert.deepEqual(passed, await answer(told.driver, what, 'never'));
  await told.driver.recorder.close();
});

const QUIET = { named: undefined, looked: undefined, lost: 0, crash: false, wallStepNs: 0n } as const;
const NOTHING = { filter: '', topics: ['process'], since: undefined, until: undefined, last: 0 as const };
