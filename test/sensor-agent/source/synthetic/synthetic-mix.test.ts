/** Mixes of made-up events: their proportions, and what each kind is made of. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { SYNTHETIC_WEIGHT_MAX } from '../../../../src/limits.js';
import { Recorder } from '../../../../src/sensor-agent/recorder/recorder.js';
import { Redactor } from '../../../../src/sensor-agent/redaction/redactor.js';
import { SyntheticSource } from '../../../../src/sensor-agent/source/synthetic/synthetic.js';
import { syntheticEvent } from '../../../../src/sensor-agent/source/synthetic/synthetic-events.js';
import {
  MixPlan,
  SYNTHETIC_KINDS,
  type SyntheticMix,
} from '../../../../src/sensor-agent/source/synthetic/synthetic-mix.js';
import type { BusEvent } from '../../../../src/wire/event/event.js';
import { EVERYTHING } from '../../../harness/recording-driver.js';
import { runs } from '../../../harness/runs.js';

const weight = fc.integer({ min: 1, max: SYNTHETIC_WEIGHT_MAX });
const anyMix: fc.Arbitrary<SyntheticMix> = fc
  .array(fc.tuple(fc.constantFrom(...SYNTHETIC_KINDS), weight), { minLength: 1, maxLength: 5 })
  .map((pairs) => Object.fromEntries(pairs));

const total = (mix: SyntheticMix) => Object.values(mix).reduce((sum, one) => sum + one, 0);

/** A thousand events, in short. */
function digest(mix: SyntheticMix, seed: number): string {
  const plan = new MixPlan(mix);
  const hash = createHash('sha256');
  for (let index = 0; index < 1000; index += 1) {
    const { format, lane, pid, values, process } = syntheticEvent(plan.at(index), seed, 2);
    const parts = [format.name, lane, pid, values, process];
    hash.update(JSON.stringify(parts, (_, value) => (typeof value === 'bigint' ? String(value) : value)));
  }
  return hash.digest('hex');
}

/** What a node tells of `count` events of a mix: through recorder and timeline, as an agent does. */
async function told(mix: SyntheticMix, count: number): Promise<BusEvent[]> {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-mix-'));
  try {
    let nowNs = 1_000_000_000n;
    const events: BusEvent[] = [];
    const unexpected = () => assert.fail('nothing is lost or late');
    const recorder = new Recorder({ dir, bytesMax: 256 * 1024 * 1024, ageMsMax: 1e12, redactor: new Redactor([]) });
    recorder.ask(EVERYTHING);
    recorder.tellTo({ event: (event) => events.push(event), loss: unexpected, late: unexpected });
    const source = new SyntheticSource({ eventsPerSecond: 10_000, eventsMax: count, mix, nowNs: () => nowNs });
    await source.start({
      page: (page) => recorder.page(page),
      horizon: (horizonNs) => recorder.horizon(horizonNs),
      exec: (record) => recorder.exec(record),
      settle: () => recorder.settle(),
      queries: (queries) => recorder.queries(queries),
      note: () => {},
    });
    const origin = { epoch: 1, continued: false, bootId: 'b', source: 'synthetic', selfPids: [] };
    recorder.begin({ ...origin, formats: source.formats.texts() }, source.clock());
    nowNs += BigInt(count) * 1_000_000n;
    while (!source.drain().empty);
    recorder.horizon(nowNs);
    assert.equal(recorder.entriesRecorded, count);
    await recorder.close();
    return events;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('every stretch of a mix has its proportions, and each kind counts without a hole', () => {
  fc.assert(
    fc.property(anyMix, fc.integer({ min: 0, max: 2 ** 40 }), (mix, round) => {
      const plan = new MixPlan(mix);
      const length = total(mix);
      const kinds = Object.keys(mix).length;
      const seen = new Map<string, number>();
      for (let at = 0; at < length; at += 1) {
        const { kind, ordinal } = plan.at(round * length + at);
        const before = seen.get(kind) ?? 0;
        const share = mix[kind] ?? assert.fail(`${kind} is not in the mix`);
        assert.equal(ordinal, round * share + before);
        seen.set(kind, before + 1);
        assert.ok(Math.abs(before + 1 - ((at + 1) * share) / length) <= kinds, `${kind} is bunched at ${at}`);
      }
      assert.deepEqual(Object.fromEntries(seen), mix);
    }),
    { numRuns: runs(50) },
  );
});

test('the order in which a mix is written does not change its events, and the seed does', () => {
  const mix = { process: 8, network: 3, syscall: 89 };
  assert.equal(digest({ syscall: 89, network: 3, process: 8 }, 5), digest(mix, 5));
  assert.notEqual(digest(mix, 6), digest(mix, 5));
});

test('without a mix the events are the same as in earlier versions', () => {
  const expected = '1983a21573e10fe364c0d64f8717a2706aa7262adff79685242b4371d3d3f6d6';
  assert.equal(digest({ life: 1 }, 1), expected);
});

test("pids of different kinds never collide, and are within the kernel's range", () => {
  const ranges = { life: [100_000, 3_100_000], process: [3_100_000, 3_600_000], numbered: [3_600_000, 4_100_000] };
  const services = [90_000, 90_016];
  const kinds = { ...ranges, network: services, syscall: services };
  fc.assert(
    fc.property(fc.constantFrom(...SYNTHETIC_KINDS), fc.maxSafeNat(), (kind, ordinal) => {
      const { pid, values, format } = syntheticEvent({ kind, ordinal }, 1, 4);
      const [first = 0, end = 0] = kinds[kind];
      // A fork is its parent's act; the child is in the event.
      const own = format.name === 'task_newtask' ? Number(values.pid) : pid;
      assert.ok(own >= first && own < end, `${kind} ${ordinal}: ${own}`);
    }),
  );
});

test('process: whole lives with their programs are told, and no connection', async () => {
  const events = await told({ process: 7 }, 5000);
  const named = (wanted: string) => events.filter(({ type }) => type === wanted);
  assert.equal(events.length, 5000);
  for (const type of ['process.fork', 'process.rename', 'process.exec', 'process.exit', 'process.signal'])
    assert.equal(named(type).length, 1000, type);
  for (const event of named('process.exit')) assert.ok(event.process?.executable, 'an exit knows its program');
});

test('network: every connection is opened, then closed, by a known process', async () => {
  const events = await told({ network: 1 }, 16 + 3 * 500);
  assert.deepEqual(
    events.map(({ type }) => type),
    [
      ...new Array<string>(16).fill('process.exec'),
      ...new Array(500).fill(['network.tcp.connect', 'network.tcp.close']).flat(),
    ],
  );
  for (let at = 16; at < events.length; at += 2) {
    const [opened, closed] = [events[at]!, events[at + 1]!];
    assert.deepEqual(closed.network, opened.network);
    assert.deepEqual(closed.process, opened.process);
    assert.ok(opened.process?.executable?.path);
    assert.equal(opened.process.commandArgs?.[1], '--service');
  }
  assert.ok(new Set(events.map(({ network }) => network?.peer.address)).size > 400);
});

test('syscall: calls are recorded in pairs, and told with numbers and results', async () => {
  const events = await told({ syscall: 3 }, 3000);
  const halves = ['syscall.enter', 'syscall.exit'].map((type) => events.filter((event) => event.type === type));
  assert.deepEqual(
    halves.map(({ length }) => length),
    [1500, 1500],
  );
  const calls = halves.map((half) => half.map(({ syscall, process }) => `${process?.pid} ${syscall?.id}`).sort());
  assert.deepEqual(calls[0], calls[1]);
  for (const { type, syscall } of events) {
    assert.equal(syscall!.returned, type === 'syscall.exit');
    assert.equal(syscall!.args.length, syscall!.returned ? 0 : 6);
  }
  for (let call = 0; call < 200; call += 1) {
    const enter = syntheticEvent({ kind: 'syscall', ordinal: 2 * call }, 9, 3);
    const exit = syntheticEvent({ kind: 'syscall', ordinal: 2 * call + 1 }, 9, 3);
    assert.deepEqual([enter.format.name, exit.format.name], ['sys_enter', 'sys_exit']);
    assert.deepEqual([exit.pid, exit.lane, exit.values.id], [enter.pid, enter.lane, enter.values.id]);
  }
});

test('a mix of all kinds tells all events of each', async () => {
  const events = await told({ life: 8, process: 5, network: 3, syscall: 80, numbered: 4 }, 10_000);
  const execs = events.filter(({ type }) => type === 'process.exec');
  const numbered = execs.flatMap(({ process }) => process?.commandArgs?.[1]?.match(/^--sequence=(\d+)$/)?.[1] ?? []);
  assert.deepEqual(
    numbered,
    Array.from({ length: 400 }, (_, index) => String(index)),
  );
  for (const { type, process } of events)
    if (type.startsWith('network.')) assert.ok(process?.executable, 'a connection has its process');
});

test('a mix out of bounds is refused', () => {
  const refused = (mix: object) => () => new MixPlan(mix);
  assert.throws(refused({}), /^BackplaneError: mix must hold at least 1 kind, got 0$/);
  for (const bad of [0, 1001, 1.5, Number.NaN])
    assert.throws(refused({ process: bad }), {
      message: `mix weight of process must be a whole number from 1 to 1000, got ${bad}`,
    });
});
