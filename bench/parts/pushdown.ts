/**
 * What filters cost where they run: a generated test per recorded entry that
 * does not match, 1,000 predicates of 20 filters and 1,000 that differ in a
 * constant against 20 and 1, and the broker's splice of frames of which half
 * the events match, alone and behind taking the frame in, every event walked,
 * and for 64 selectors.
 */
import { SELECTORS_MAX } from '../../src/limits.js';
import { Interest } from '../../src/sensor-agent/interest/interest.js';
import { compileRawPredicate } from '../../src/sensor-agent/interest/raw-predicate.js';
import { BUILTIN_FORMATS } from '../../src/sensor-agent/source/builtin-formats.js';
import { FIRST_TEST, PageEntries, scanPage, startCursor } from '../../src/sensor-agent/source/pages/page.js';
import { PageWriter } from '../../src/sensor-agent/source/synthetic/page-writer.js';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import type { BusEvent } from '../../src/wire/event/event.js';
import { EventWriter } from '../../src/wire/event/event-writer.js';
import { decodeFrame, encodeFrame } from '../../src/wire/frame/frame.js';
import { checkEvents, type EventColumns } from '../../src/wire/frame/frame-columns.js';
import { encodeEventBatch, selectEvents, selectMatching } from '../../src/wire/frame/splice.js';
import { frameOver } from '../../test/harness/frames.js';
import { median, report, round } from '../measuring/report.js';

const RUNS = 9;
const RUN_MS = 300;

/** Units per second: the median of some runs, the first of which is the compiler's. */
function rate(unitsPerCall: number, call: () => void): number {
  const rates: number[] = [];
  for (let run = 0; run <= RUNS; run += 1) {
    const startMs = performance.now();
    let calls = 0;
    for (; performance.now() - startMs < RUN_MS; calls += 1) call();
    if (run > 0) rates.push((calls * unitsPerCall * 1000) / (performance.now() - startMs));
  }
  return median(rates);
}

function scan(filter: string) {
  const format = BUILTIN_FORMATS.byName('raw_syscalls/sys_enter')!;
  const writer = new PageWriter(64 * 1024);
  let entries = 0;
  while (
    writer.append({
      format,
      timeNs: BigInt(entries) * 300n,
      pid: 77,
      values: { id: BigInt(entries % 300), args: [1n, 2n, 3n, 4n, 5n, 6n] },
    })
  )
    entries += 1;
  const page = Buffer.from(writer.take()!);
  const predicate = compilePredicate({ topics: ['syscall'], filter, includeSelf: true });
  const test = compileRawPredicate([predicate.rawForm('syscall.enter').expr], format);
  if (typeof test === 'boolean') throw new Error(`${filter} has no raw form`);
  const wanted = new Uint8Array(65_536);
  wanted[format.id] = FIRST_TEST;
  const found = new PageEntries();
  const each = rate(entries, () => scanPage(page, wanted, startCursor(), found, [test]));
  if (found.count !== 0) throw new Error(`${filter} matches ${found.count}`);
  return { what: `raw predicate, no match: ${filter}`, 'M/s': round(each / 1e6, 1), target: '>= 30 M entries/s' };
}

const EVENT: BusEvent = {
  type: 'process.exec',
  topic: 'process',
  position: { epoch: 1, timeNs: 5n, lane: 0, tie: 0 },
  wallNs: 1_700_000_000_000_000_000n,
  process: {
    pid: 4711,
    parentPid: 1,
    comm: 'cat',
    executable: { path: '/usr/bin/cat', name: 'cat' },
    commandArgs: ['cat', '/etc/hostname'],
    workingDirectory: '/root',
    user: { id: 0 },
    creationTimeNs: 1_700_000_000_000_000_000n,
  },
};

function match(filters: readonly string[]): number {
  // As the broker sends them: equal predicates once.
  const requests = new Map(
    filters.map((filter) => {
      const predicate = compilePredicate({ topics: ['process'], filter, includeSelf: true });
      return [predicate.id, predicate.spec];
    }),
  );
  const interest = new Interest(1n, [...requests.values()], 'node');
  return rate(100, () => {
    for (let at = 0; at < 100; at += 1) interest.match(EVENT);
  });
}

function sharing() {
  const distinct = Array.from({ length: 20 }, (_, at) => `process.executable.path.endsWith("/bin/tool-${at}")`);
  const spelled = Array.from({ length: 1000 }, (_, at) => `${' '.repeat(at % 50)}(${distinct[at % 20]})`);
  const constants = Array.from({ length: 1000 }, (_, at) => `process.pid == ${at + 10_000}`);
  const [few, many, one, thousand] = [match(distinct), match(spelled), match(constants.slice(0, 1)), match(constants)];
  return [
    { what: '20 filters, evaluated', 'M/s': round(few / 1e6), target: '' },
    {
      what: `1,000 subscriptions of 20 filters: ${round(few / many)} times the CPU`,
      'M/s': round(many / 1e6),
      target: '<= 1.5 times',
    },
    { what: 'process.pid == N, one', 'M/s': round(one / 1e6), target: '' },
    {
      what: `process.pid == N, 1,000 of them: ${round(one / thousand)} times the CPU`,
      'M/s': round(thousand / 1e6),
      target: '',
    },
  ];
}

function frameOf(columns: EventColumns, indices: readonly number[]): Buffer {
  const at = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });
  const count = columns.eventSizes.length;
  const matches = [{ predicateId: 1n, all: false, indices: [...indices] }];
  return encodeFrame(frameOver(at(0n), at(BigInt(count)), { count, matches, ...columns }));
}

function splice() {
  const count = 200;
  const writer = new EventWriter();
  const eventSizes = Array.from({ length: count }, () => writer.write(EVENT));
  const columns = {
    eventSizes,
    timesNs: BigUint64Array.from({ length: count }, (_, at) => BigInt(at + 1)),
    lanes: new Array<number>(count).fill(0),
    ties: new Array<number>(count).fill(0),
    events: Buffer.from(writer.take()),
  };
  const rows = [];
  const patterns = {
    'every second event': (at: number) => at % 2 === 0,
    'runs of ten': (at: number) => Math.floor(at / 10) % 2 === 0,
  };
  for (const [name, matches] of Object.entries(patterns)) {
    const indices = eventSizes.flatMap((_, at) => (matches(at) ? [at] : []));
    const header = { node: 'node-1', topic: 'process', history: false, cursor: 'x'.repeat(80) };
    const each = rate(indices.length, () => {
      const { parts } = selectEvents(columns, { all: false, indices }, 0, count, count);
      encodeEventBatch(header, parts);
    });
    const sent = frameOf(columns, indices);
    const forwarded = rate(count, () => {
      const frame = decodeFrame(sent);
      checkEvents('frame', frame);
      encodeEventBatch(header, selectEvents(frame, frame.matches[0]!, 0, count, count).parts);
    });
    rows.push({
      what: `broker splice, half matching: ${name}`,
      'M/s': round(each / 1e6, 1),
      target: '>= 3 M events/s',
    });
    rows.push({
      what: `broker, a frame taken in, walked and spliced, half matching: ${name}`,
      'M/s': round(forwarded / 1e6, 1),
      target: '>= 3 M events/s',
    });
  }
  const lists = Array.from({ length: SELECTORS_MAX }, (_, selector) => {
    const indices = eventSizes.flatMap((_size, at) =>
      at % SELECTORS_MAX === selector || at % 7 === selector ? [at] : [],
    );
    return { all: false, indices };
  });
  const joined = rate(count, () => {
    const { parts, matched = [] } = selectMatching(columns, lists, 0, count, count);
    const matches = matched.map(({ indices }, at) => ({ selector: `selector-${at}`, all: false, indices }));
    encodeEventBatch({ node: 'node-1', topic: 'process', history: false, cursor: 'x'.repeat(80), matches }, parts);
  });
  rows.push({
    what: `broker splice for ${SELECTORS_MAX} selectors, with the ids that each event matches`,
    'M/s': round(joined / 1e6, 1),
    target: '>= 3 M events/s',
  });
  return rows;
}

report('pushdown', [
  scan('syscall.id == 999'),
  scan('syscall.id in [901, 902, 903] && syscall.arg1 > 100'),
  scan('syscall.id == 999 || syscall.arg0 == 123456789012'),
  ...sharing(),
  ...splice(),
]);
