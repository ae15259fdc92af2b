/** Execs and copies that are read lane by lane, in any interleaving: each exec is told once, and with its own copy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ExecMatcher, type Matched, type SeenExec } from '../../../../src/sensor-agent/source/probe/exec-matcher.js';
import { runs } from '../../../harness/runs.js';

interface Program {
  readonly pid: number;
  readonly execLane: number;
  readonly copyLane: number;
  readonly isCopied: boolean;
  /** Copied before the exec is noted. */
  readonly first: boolean;
}

interface Entry {
  readonly lane: number;
  readonly atNs: number;
  readonly pid: number;
  readonly first: boolean;
  readonly exec?: SeenExec;
  readonly copy?: string;
}

const program = fc.record({
  pid: fc.integer({ min: 1, max: 4 }),
  execLane: fc.nat(2),
  copyLane: fc.nat(2),
  isCopied: fc.boolean(),
  first: fc.boolean(),
});

/** By lane, in order of time: what a drain reads of it, up to its own moment. */
function entriesOf(programs: readonly Program[]): Entry[] {
  return programs.flatMap(({ pid, execLane, copyLane, isCopied, first }, at) => {
    const atNs = at * 10 + 1;
    const exec: SeenExec = { lane: execLane, pid, timeNs: BigInt(atNs), filename: `/program-${at}` };
    const entry: Entry = { lane: execLane, atNs, pid, first, exec };
    const copy: Entry = { lane: copyLane, atNs: first ? atNs - 1 : atNs + 1, pid, first, copy: exec.filename };
    if (!isCopied) return [entry];
    return first ? [copy, entry] : [entry, copy];
  });
}

test('each exec is told once, with its own copy and no other, however the lanes are read', () => {
  fc.assert(
    fc.property(
      fc.array(program, { maxLength: 30 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.array(fc.nat(30), { minLength: 3, maxLength: 3 })), {
        maxLength: 12,
      }),
      (programs, drains) => {
        const entries = entriesOf(programs);
        const matcher = new ExecMatcher<SeenExec, string>();
        const told: Matched<SeenExec, string>[] = [];
        const read = [0, 0, 0];
        let beganNs = 0;
        const drain = (began: number, ahead: readonly number[]) => {
          // A lane is read at some moment after the drain began: each sees what came until then.
          for (const lane of [0, 1, 2]) {
            const untilNs = Math.max(read[lane]!, began + ahead[lane]!);
            for (const entry of entries) {
              if (entry.lane !== lane || entry.atNs < read[lane]! || entry.atNs >= untilNs) continue;
              if (entry.exec) matcher.exec(entry.exec);
              else matcher.copied({ ...entry, timeNs: BigInt(entry.atNs), copy: entry.copy! });
            }
            read[lane] = untilNs;
          }
          matcher.settle(
            BigInt(Math.min(...read)),
            (one) => told.push(one),
            () => undefined,
          );
        };
        for (const [later, ahead] of drains) {
          beganNs += later + 30;
          drain(beganNs, ahead);
        }
        drain(1_000, [0, 0, 0]);
        matcher.end((one) => told.push(one));
        assert.equal(matcher.waits, false);
        assert.deepEqual(
          told.map(({ exec }) => exec.filename).sort(),
          programs.map((_, at) => `/program-${at}`).sort(),
        );
        for (const { exec, copy } of told) {
          const at = (Number(exec.timeNs) - 1) / 10;
          assert.equal(copy, programs[at]!.isCopied ? exec.filename : undefined);
        }
      },
    ),
    { numRuns: runs(500) },
  );
});

test('an exec that is known to be followed by another is told as replaced, so that nothing is read for it', () => {
  const matcher = new ExecMatcher<SeenExec, string>();
  const told: Matched<SeenExec, string>[] = [];
  const waited: string[] = [];
  const exec = (name: string, timeNs: bigint): SeenExec => ({ lane: 0, pid: 7, timeNs, filename: name });
  matcher.exec(exec('a', 1n));
  matcher.exec(exec('b', 2n));
  assert.ok(matcher.waits);
  const settle = () =>
    matcher.settle(
      10n,
      (one) => told.push(one),
      ({ filename }) => waited.push(filename),
    );
  settle();
  assert.deepEqual(
    told.map(({ exec: { filename }, replacedNs }) => [filename, replacedNs]),
    [['a', 2n]],
  );
  assert.deepEqual(waited, ['b']);
  assert.ok(matcher.waits);
  settle();
  assert.equal(matcher.waits, false);
  assert.deepEqual(
    told.map(({ exec: { filename }, replacedNs }) => [filename, replacedNs]),
    [
      ['a', 2n],
      ['b', undefined],
    ],
  );
});

test('what waits for ever is bounded', () => {
  const matcher = new ExecMatcher<SeenExec, string>();
  let told = 0;
  for (let pid = 0; pid < 20_000; pid += 1) matcher.exec({ lane: 0, pid, timeNs: BigInt(pid), filename: '' });
  matcher.settle(
    20_000n,
    () => (told += 1),
    () => undefined,
  );
  assert.ok(told >= 15_000);
});

test('a copy whose exec may have been lost is not taken for that of a later one', () => {
  for (const horizonNs of [5n, 15n]) {
    const matcher = new ExecMatcher<SeenExec, string>();
    const told: Matched<SeenExec, string>[] = [];
    const settle = (ns: bigint) =>
      matcher.settle(
        ns,
        (one) => told.push(one),
        () => undefined,
      );
    matcher.copied({ pid: 7, timeNs: 10n, copy: 'of the lost one', first: true });
    settle(horizonNs);
    matcher.interrupt();
    matcher.exec({ lane: 0, pid: 7, timeNs: 20n, filename: 'later' });
    settle(30n);
    settle(40n);
    assert.deepEqual(
      told.map(({ exec, copy }) => [exec.filename, copy]),
      [['later', undefined]],
    );
  }
});

test('an exec whose program has not come to run waits for it through more than one drain', () => {
  const matcher = new ExecMatcher<SeenExec, string>();
  const told: Matched<SeenExec, string>[] = [];
  let waits = 0;
  const settle = (ns: bigint, isToCome: boolean) =>
    matcher.settle(
      ns,
      (one) => told.push(one),
      () => (waits += 1),
      () => isToCome,
    );
  matcher.exec({ lane: 0, pid: 7, timeNs: 1n, filename: 'runs' });
  matcher.exec({ lane: 0, pid: 8, timeNs: 2n, filename: 'never runs' });
  for (const ns of [10n, 20n, 30n]) settle(ns, true);
  matcher.copied({ pid: 7, timeNs: 35n, copy: 'its own', first: false });
  settle(40n, true);
  assert.deepEqual(
    told.map(({ exec, copy }) => [exec.filename, copy]),
    [['runs', 'its own']],
  );
  settle(50n, false);
  assert.deepEqual(told.map(({ exec, copy }) => [exec.filename, copy]).slice(1), [['never runs', undefined]]);
  assert.equal(waits, 2);
});
