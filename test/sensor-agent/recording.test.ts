import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Recorder } from '../../src/sensor-agent/recorder.js';
import type { Origin } from '../../src/sensor-agent/recording.js';
import { Replay } from '../../src/sensor-agent/replay.js';
import { BUILTIN_FORMATS } from '../../src/sensor-agent/source/builtin-formats.js';
import { PageWriter } from '../../src/sensor-agent/source/page-writer.js';
import type { TimelineSink } from '../../src/sensor-agent/timeline.js';
import type { BusEvent } from '../../src/wire/event.js';
import { comparePositions, positionText } from '../../src/wire/position.js';

const ORIGIN: Origin = {
  epoch: 7,
  continued: true,
  bootId: 'boot',
  source: 'tracefs',
  formats: BUILTIN_FORMATS.texts(),
  selfPids: [3],
};
const WALL_NS = 1_700_000_000_000_000_000n;

class Told implements TimelineSink {
  events: string[] = [];
  positions: BusEvent['position'][] = [];
  lost = 0;
  late_ = 0;
  wants = () => true;
  event(event: BusEvent): void {
    this.positions.push(event.position);
    this.events.push(`${positionText(event.position)} ${JSON.stringify(event, (_, value) => (typeof value === 'bigint' ? String(value) : value))}`);
  }
  loss(lost: number): void {
    this.lost += lost;
  }
  late(): void {
    this.late_ += 1;
  }
}

/** What happens between two drains: entries per lane, and how their side records come. */
const step = fc.record({
  entries: fc.array(
    fc.record({
      lane: fc.integer({ min: 0, max: 2 }),
      afterNs: fc.constantFrom(0n, 0n, 1n, 900n, 40_000n),
      pid: fc.integer({ min: 1, max: 12 }),
      what: fc.constantFrom('exec', 'exec', 'fork', 'exit', 'rename', 'other'),
      read: fc.constantFrom('at once', 'at once', 'later', 'missed', 'never'),
    }),
    { maxLength: 12 },
  ),
  lost: fc.constantFrom(0, 0, 0, 5),
  crash: fc.constantFrom(false, false, false, false, true),
  wallStepNs: fc.constantFrom(0n, 0n, 0n, -3_600_000_000_000n, 1_000_000n),
});

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Drives a recorder as an agent does, crashes included; what it told live is in `told`. */
class Driver {
  nowNs = 1_000_000_000n;
  wallNs = WALL_NS;
  told = new Told();
  recorder!: Recorder;
  #later: (() => void)[] = [];
  #sequence = 0;

  constructor(private readonly dir: string) {
    this.open();
  }

  open(): void {
    this.recorder = new Recorder({ dir: this.dir, bytesMax: 64 * 1024 * 1024, ageMsMax: 1e12, segmentBytesMax: 16 * 1024 }, this.told);
    this.recorder.begin(ORIGIN, this.clock());
  }

  clock() {
    return { bootNs: this.nowNs, wallNs: this.wallNs + this.nowNs };
  }

  step(given: Step): void {
    const later = this.#later.splice(0);
    this.wallNs += given.wallStepNs;
    if (given.wallStepNs !== 0n) this.recorder.setClock(this.clock());
    const byLane = new Map<number, PageWriter>();
    for (const entry of given.entries) {
      this.nowNs += entry.afterNs;
      const writer = byLane.get(entry.lane) ?? new PageWriter(64 * 1024);
      byLane.set(entry.lane, writer);
      const timeNs = this.nowNs;
      writer.append({ ...traceEvent(entry.what, entry.pid), timeNs, pid: entry.pid });
      if (entry.what === 'exec') this.#read(entry.read, entry.lane, entry.pid, timeNs + 700n);
    }
    for (const [lane, writer] of byLane) {
      this.recorder.page({ lane, bytes: writer.take()!, lost: given.lost, lostUnknown: false });
    }
    this.nowNs += 1_000n;
    this.recorder.horizon(this.nowNs);
    for (const act of later) act();
    if (!given.crash) return;
    // A killed agent: no close, nothing flushed; side records on their way are gone.
    this.#later = [];
    this.open();
  }

  #read(how: string, lane: number, pid: number, timeNs: bigint): void {
    if (how === 'never') return;
    this.#sequence += 1;
    const args = ['/bin/x', `--sequence=${this.#sequence}`];
    const process = { pid, parentPid: 1, comm: 'x', args, executablePath: `/bin/x${this.#sequence}` };
    const missed = how === 'missed';
    const act = () => this.recorder.exec({ lane, timeNs, pid, missed, ...(missed ? {} : { process }) });
    if (how === 'later') this.#later.push(act);
    else act();
  }

  finish(): void {
    for (const act of this.#later.splice(0)) act();
    this.nowNs += 1_000_000_000n;
    this.recorder.horizon(this.nowNs);
    this.recorder.expire(this.nowNs);
  }
}

function traceEvent(what: string, pid: number) {
  const format = (name: string) => BUILTIN_FORMATS.byName(name)!;
  if (what === 'exec') return { format: format('sched_process_exec'), values: { filename: `/bin/p${pid}`, pid, old_pid: pid } };
  if (what === 'fork') return { format: format('task_newtask'), values: { pid: pid + 20, comm: 'child', clone_flags: 0n, oom_score_adj: 0 } };
  if (what === 'exit') return { format: format('sched_process_exit'), values: { comm: 'x', pid, prio: 120, group_dead: true } };
  if (what === 'rename') return { format: format('task_rename'), values: { pid, oldcomm: 'a', newcomm: 'b', oom_score_adj: 0 } };
  return { format: format('sys_enter'), values: { id: 1n } };
}

function replayed(recorder: Recorder, anchor: number | undefined): Told {
  const told = new Told();
  const replay = new Replay(recorder.log, anchor, told);
  while (replay.step(1024));
  assert.equal(replay.damagedBytes, 0);
  replay.close();
  return told;
}

test('live and replay, from the start and from every checkpoint, crashes or not, tell the same', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) => {
      const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
      try {
        const driver = new Driver(dir);
        for (const one of steps) driver.step(one);
        driver.finish();
        const live = driver.told;
        for (let at = 1; at < live.positions.length; at += 1) {
          assert.ok(comparePositions(live.positions[at - 1]!, live.positions[at]!) < 0, 'position order');
        }
        const whole = replayed(driver.recorder, undefined);
        assert.deepEqual(whole.events, live.events);
        assert.equal(whole.lost, live.lost);
        for (const { ordinal } of driver.recorder.log.anchors()) {
          const part = replayed(driver.recorder, ordinal);
          assert.deepEqual(part.events, live.events.slice(live.events.length - part.events.length), `anchor ${ordinal}`);
        }
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }),
    { numRuns: 60 },
  );
});

test('every recorded event is told exactly once', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 15 }), (steps) => {
      const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
      try {
        const driver = new Driver(dir);
        for (const one of steps) driver.step(one);
        driver.finish();
        const expected = steps.flatMap((one) => one.entries).filter((entry) => entry.what !== 'other').length;
        assert.equal(driver.told.events.length, expected);
        assert.equal(driver.told.late_, 0);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }),
    { numRuns: 60 },
  );
});
