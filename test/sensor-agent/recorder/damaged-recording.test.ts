/**
 * Whatever becomes of a recording's files, a replay tells what can still be read and states that the rest is missing:
 * never an event that was not, and never silence.
 */
import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { HistoryQuery } from '../../../src/sensor-agent/history/history-query.js';
import { HistoryTurns } from '../../../src/sensor-agent/history/history-turns.js';
import type { HistoryResult, HistoryWindow } from '../../../src/sensor-agent/history/history-window.js';
import { oldestAnchor, wholeAnchors } from '../../../src/sensor-agent/recorder/anchors.js';
import { RecordKind } from '../../../src/sensor-agent/recorder/recording.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import type { HistoryFrame } from '../../../src/wire/frame/history-frame.js';
import { comparePositions, type Position } from '../../../src/wire/position.js';
import { type RecordedStep, RecordingDriver, Told, WALL_NS } from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const dirs: string[] = [];
after(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-damaged-'));
  dirs.push(dir);
  return dir;
}

interface Sample {
  readonly dir: string;
  /** Of the process events, in order. */
  readonly told: readonly Position[];
  /** By position: the record whose page holds the event. */
  readonly pages: ReadonlyMap<string, number>;
  readonly segments: readonly string[];
}

const nameOf = ({ epoch, timeNs, lane, tie }: Position) => `${epoch} ${timeNs} ${lane} ${tie}`;

/** Some segments of 16 KiB, ended as a killed agent leaves them or in order. */
async function sample(closed: boolean): Promise<Sample> {
  const dir = scratch();
  const live = new Told();
  const driver = new RecordingDriver(dir, live);
  const { log } = driver.recorder;
  const pages = new Map<string, number>();
  for (let round = 0; round < 60; round++) {
    const ordinals: number[] = [];
    const { page } = driver.recorder;
    driver.recorder.page = (given) => {
      page.call(driver.recorder, given);
      ordinals.push(log.nextOrdinal - 1);
    };
    const before = live.positions.length;
    // One lane and no side records on their way: what a step records is told by the end of it.
    const entries = Array.from({ length: 12 }, (_, at) => {
      return { lane: 0, afterNs: 900n, pid: 5 + at, what: at % 2 ? 'fork' : 'exec', read: 'at once' } as const;
    });
    driver.step({ entries, lost: 0, crash: false, wallStepNs: 0n } satisfies RecordedStep);
    for (const position of live.positions.slice(before)) pages.set(nameOf(position), ordinals.at(-1)!);
    driver.recorder.page = page;
    await log.sync();
  }
  const told = live.positions.slice();
  if (closed) await driver.recorder.close();
  const segments = log.segments().map(({ path }) => path.slice(dir.length + 1));
  assert.ok(segments.length >= 6 && told.length > 500, `${segments.length} segments, ${told.length} events`);
  return { dir, told, pages, segments };
}

function copyOf({ dir }: Sample): string {
  const copy = scratch();
  for (const name of readdirSync(dir)) copyFileSync(join(dir, name), join(copy, name));
  return copy;
}

interface Answered {
  readonly positions: Position[];
  readonly answer: HistoryResult;
  /** Up to where it was said at last that something is missing, while events still came. */
  readonly saidTo: Position | undefined;
}

async function ask(driver: RecordingDriver, window: Partial<HistoryWindow>, upTo: Position): Promise<Answered> {
  const positions: Position[] = [];
  let saidTo: Position | undefined;
  const outlet = {
    send: ({ epoch, timesNs, lanes, ties, incomplete }: HistoryFrame) => {
      for (const [at, timeNs] of timesNs.entries()) positions.push({ epoch, timeNs, lane: lanes[at]!, tie: ties[at]! });
      if (incomplete) saidTo = positions.at(-1);
    },
    ready: async () => undefined,
  };
  const whole = { sinceNs: undefined, untilNs: undefined, after: undefined, last: 0, upTo };
  const { signal } = new AbortController();
  const turns = new HistoryTurns(1);
  const query = new HistoryQuery(
    driver.recorder,
    [{ id: predicate.id, predicate }],
    { ...whole, ...window },
    outlet,
    signal,
    turns,
  );
  const answer = await query.run();
  return { positions, answer, saidTo: answer.incomplete ? upTo : saidTo };
}

/** Everything that an event could be told from after damage: its page, and a whole checkpoint before it. */
function reachable(driver: RecordingDriver, { told, pages }: Sample): Position[] {
  const { log } = driver.recorder;
  const readable = new Set<number>();
  const reader = log.reader(0);
  let origin = Number.POSITIVE_INFINITY;
  for (let item = reader.next(); item && item.kind !== 'evicted'; item = reader.next()) {
    if (item.kind !== 'record') continue;
    readable.add(item.ordinal);
    if (item.recordKind === RecordKind.ORIGIN) origin = Math.min(origin, item.ordinal);
  }
  reader.close();
  const from = Math.min(oldestAnchor(log)?.head.resumeOrdinal ?? Number.POSITIVE_INFINITY, origin);
  return told.filter((position) => {
    const ordinal = pages.get(nameOf(position))!;
    return ordinal >= from && readable.has(ordinal);
  });
}

function states({ damagedBytes, losses, evicted }: HistoryResult, fromGiven: boolean): boolean {
  return damagedBytes > 0 || losses.length > 0 || (evicted && fromGiven);
}

/** Asks the damaged recording everything that can be asked, and holds it to what was told live. */
async function check(from: Sample, dir: string, what: string): Promise<void> {
  const last = from.told.at(-1)!;
  const driver = new RecordingDriver(dir, new Told(), undefined, last.timeNs + 1_000_000n);
  const known = new Set(from.told.map(nameOf));
  const { recorder } = driver;
  recorder.reportLoss('tracefs', driver.nowNs);
  driver.nowNs += 1_000_000n;
  recorder.horizon(driver.nowNs);
  const upTo = recorder.timeline.frontier;
  const middle = from.told[Math.floor(from.told.length / 2)]!;
  const middleNs = WALL_NS + middle.timeNs;
  const all = reachable(driver, from);
  const windows: [string, Partial<HistoryWindow>, (position: Position) => boolean][] = [
    ['everything', {}, () => true],
    ['since 1970', { sinceNs: 0n }, () => true],
    ['since the middle', { sinceNs: middleNs }, ({ timeNs }) => timeNs >= middle.timeNs],
    ['until the middle', { untilNs: middleNs }, ({ timeNs }) => timeNs < middle.timeNs],
    ['behind the middle', { after: middle }, (position) => comparePositions(position, middle) > 0],
    ['the last of all', { last: 10_000 }, () => true],
    ['the last 20', { last: 20 }, () => false],
  ];
  for (const [name, window, inside] of windows) {
    const { positions, answer, saidTo } = await ask(driver, window, upTo);
    const label = `${what}: ${name}`;
    const got = new Set(positions.map(nameOf));
    assert.equal(got.size, positions.length, `${label}: told twice`);
    for (const position of positions) assert.ok(known.has(nameOf(position)), `${label}: ${nameOf(position)} never was`);
    for (const position of all) {
      if (inside(position))
        assert.ok(got.has(nameOf(position)), `${label}: ${nameOf(position)} can be read, is not told`);
    }
    const missing = from.told.filter((position) => inside(position) && !got.has(nameOf(position)));
    if (missing.length === 0) continue;
    const { damagedBytes, losses, evicted } = answer;
    const told = JSON.stringify({ damagedBytes, evicted, losses: losses.map(({ reason }) => reason) });
    assert.ok(states(answer, window.sinceNs !== undefined), `${label}: ${missing.length} missing, ${told}`);
    // Nobody who takes no more of an answer than has come may be behind what is missing without a word.
    const [first] = window.after ? [window.after] : positions;
    const behind = first && missing.findLast((position) => comparePositions(position, first) > 0);
    if (window.last || behind === undefined) continue;
    assert.ok(saidTo && comparePositions(saidTo, behind) >= 0, `${label}: ${nameOf(behind)} is missing in silence`);
  }
  assert.ok(comparePositions(upTo, last) > 0);
  await recorder.close();
}

const overwrite = (path: string, at: number, bytes: Buffer) => {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
};

const DESTROYED: Record<string, (path: string) => void> = {
  'truncated to nothing': (path) => truncateSync(path, 0),
  'cut in the middle': (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
  zeroed: (path) => writeFileSync(path, Buffer.alloc(statSync(path).size)),
  removed: (path) => rmSync(path),
  'removed with its index': (path) => {
    rmSync(path);
    rmSync(path.replace(/log$/, 'index'), { force: true });
  },
  'without its header': (path) => overwrite(path, 0, Buffer.alloc(48, 0x5a)),
  'without its checkpoint': (path) => overwrite(path, 48 + 40, Buffer.alloc(200, 0x5a)),
};

for (const closed of [true, false]) {
  const ended = closed ? 'closed' : 'left by a kill';
  test(`a segment that is destroyed in any way, oldest, middle or newest, is stated (${ended})`, async () => {
    const from = await sample(closed);
    const { segments } = from;
    const newest = segments.at(-1)!;
    // Those before the newest are the same however the recording ended.
    const places = closed
      ? { oldest: segments[0]!, middle: segments[Math.floor(segments.length / 2)]!, newest }
      : { newest };
    await check(from, copyOf(from), 'nothing');
    for (const [place, name] of Object.entries(places)) {
      for (const [how, destroy] of Object.entries(DESTROYED)) {
        const dir = copyOf(from);
        destroy(join(dir, name));
        await check(from, dir, `${place} ${how}`);
      }
    }
    const all = copyOf(from);
    for (const name of segments) rmSync(join(all, name));
    await check(from, all, 'all removed');
  });
}

test('with damaged checkpoints a replay starts from an older whole one', async () => {
  const from = await sample(true);
  const spoil = async (chosen: (at: number) => boolean, what: string) => {
    const dir = copyOf(from);
    const before = new RecordingDriver(copyOf(from), new Told());
    const anchors = [...wholeAnchors(before.recorder.log)].reverse();
    const { log } = before.recorder;
    const places = log.segments();
    for (const [at, { ordinal }] of anchors.entries()) {
      if (!chosen(at)) continue;
      const segment = places.findLast(({ firstOrdinal }) => firstOrdinal <= ordinal)!;
      const path = join(dir, segment.path.slice(segment.path.lastIndexOf('/') + 1));
      if (!existsSync(path)) continue;
      const bytes = readFileSync(path);
      // A record is found by its ordinal: marker, sums, kind, flags and length stand before it.
      const name = Buffer.alloc(8);
      name.writeBigUInt64LE(BigInt(ordinal));
      for (let found = bytes.indexOf(name); found >= 0; found = bytes.indexOf(name, found + 1)) {
        if (bytes.toString('latin1', found - 15, found - 12) === 'REC')
          overwrite(path, found + 16 + 4, Buffer.from('?!'));
      }
    }
    await before.recorder.close();
    await check(from, dir, what);
  };
  await spoil((at) => at === 0, 'the first checkpoint damaged');
  await spoil((at) => at % 2 === 1, 'every second checkpoint damaged');
  await spoil((at) => at > 0, 'all but the first damaged');
  await spoil(() => true, 'all damaged');
});

const damage = fc.record({
  how: fc.constantFrom('truncate', 'zero', 'flip', 'remove', 'swap', 'grow'),
  file: fc.nat(),
  at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  length: fc.integer({ min: 1, max: 3000 }),
});

test('after repeated damage at any place, every event is either told or stated as lost', async () => {
  const samples = [await sample(true), await sample(false)];
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), fc.nat(1), async (damages, which) => {
      const from = samples[which]!;
      const dir = copyOf(from);
      for (const { how, file, at, length } of damages) {
        const names = readdirSync(dir).filter((name) => /\.(log|index)$/.test(name));
        if (names.length === 0) break;
        const path = join(dir, names[file % names.length]!);
        const { size } = statSync(path);
        const offset = Math.floor(at * size);
        if (how === 'truncate') truncateSync(path, offset);
        else if (how === 'zero') overwrite(path, offset, Buffer.alloc(Math.min(length, size - offset)));
        else if (how === 'flip' && size > 0) overwrite(path, offset, Buffer.from([readFileSync(path)[offset]! ^ 0x41]));
        else if (how === 'remove') rmSync(path);
        else if (how === 'grow') writeFileSync(path, Buffer.alloc(length, 0xb5), { flag: 'a' });
        else if (how === 'swap') {
          const other = join(dir, names[(file + 1) % names.length]!);
          const [mine, its] = [readFileSync(path), readFileSync(other)];
          writeFileSync(path, its);
          writeFileSync(other, mine);
        }
      }
      await check(from, dir, JSON.stringify(damages));
      rmSync(dir, { recursive: true, force: true });
    }),
    { numRuns: runs(4), endOnFailure: true },
  );
});
