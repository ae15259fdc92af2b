/** Tests of each way in which the kernel copies arguments, and holds here. Programs are known by marks that nobody else can make. */
import { randomBytes } from 'node:crypto';
import { afterEach, type TestContext, test } from 'node:test';
import { EXEC_WAYS, type ExecWay } from '../../../src/sensor-agent/source/exec/exec-ways.js';
import { ExecProbe } from '../../../src/sensor-agent/source/probe/exec-probe.js';
import { liveTracefs, probeOptions, type Recording } from './live-kernel.js';

export const live = liveTracefs();
export const KERNEL = EXEC_WAYS.filter(({ name }) => name !== 'dynamic linkers');
export const LINKERS = EXEC_WAYS.filter((way) => !KERNEL.includes(way));
/** Run after each test, the last first. */
export const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let serial = 0;
export const options = () => probeOptions(`test-${process.pid}-p${serial++}`);

/** Drained every ten milliseconds, or by the test itself. */
export async function opened(way: ExecWay, given = options(), drains = true) {
  const probe = new ExecProbe(given, way);
  await probe.prove();
  const draining = setInterval(() => drains && probe.drain(), 10);
  cleanups.push(
    () => probe.stop(),
    () => clearInterval(draining),
  );
  return { ...given, probe };
}

/** Those of some ways that hold on this kernel. */
async function holding(ways: readonly ExecWay[]): Promise<ExecWay[]> {
  const found: ExecWay[] = [];
  for (const way of live.skip ? [] : ways) {
    let probe: ExecProbe | undefined;
    try {
      probe = new ExecProbe(options(), way);
      await probe.prove();
      found.push(way);
    } catch (cause) {
      console.log(`# ${way.name}: ${(cause as Error).message}`);
    } finally {
      await probe?.stop();
    }
  }
  return found;
}

const WAYS = await holding(EXEC_WAYS);

/** A test for each way that holds. */
export function by(
  ways: readonly ExecWay[],
  title: string,
  run: (way: ExecWay, t: TestContext) => Promise<void>,
): void {
  const possible = WAYS.filter((way) => ways.includes(way));
  if (possible.length === 0) test(title, { skip: live.skip || 'this kernel has no such probes' }, () => undefined);
  for (const way of possible) test(`${title} (${way.name})`, (t) => run(way, t));
}

export const mark = () => randomBytes(12).toString('hex');
export const marked = (seen: Recording, text: string) =>
  seen.execs.filter(({ process: found }) => found?.args?.includes(text));
