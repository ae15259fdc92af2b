/** Execs whose side records come late. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXEC_CONTEXT_WAIT_MS } from '../../../src/limits.js';
import { PageWriter } from '../../../src/sensor-agent/source/synthetic/page-writer.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { RecordingDriver, replayed, Told, traceEvent } from '../../harness/recording-driver.js';

const MS = 1_000_000n;
const WAIT_NS = BigInt(EXEC_CONTEXT_WAIT_MS) * MS;

/** A recording with one exec, read by a drain long after it took place, as where nobody listens. */
function readLate() {
  const told = new Told();
  const { recorder } = new RecordingDriver(scratchDirectory('late-record'), told);
  const execNs = 2_000n * MS;
  const drainedNs = execNs + 2n * WAIT_NS;
  const writer = new PageWriter(64 * 1024);
  writer.append({ ...traceEvent('exec', 7), timeNs: execNs, pid: 7 });
  recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  recorder.horizon(drainedNs);
  recorder.expire(drainedNs, execNs - MS);
  return { told, recorder, execNs, drainedNs };
}

const execsOf = ({ events }: Told) => events.filter((text) => text.includes('process.exec'));

test('the arguments of an exec that was read late may come with the drain after', () => {
  const { told, recorder, execNs, drainedNs } = readLate();
  assert.deepEqual(execsOf(told), []);
  recorder.horizon(drainedNs + WAIT_NS);
  const process = { pid: 7, args: ['/bin/p7', '--late'] };
  recorder.exec({ lane: 0, timeNs: execNs, pid: 7, missed: false, process });
  recorder.expire(drainedNs + WAIT_NS, drainedNs);
  const [exec, ...others] = execsOf(told);
  assert.match(exec ?? '', /--late/);
  assert.deepEqual(others, []);
  assert.deepEqual(execsOf(replayed(recorder, undefined)), [exec]);
});

test('an exec whose arguments did not come with the drain after goes on without them', () => {
  const { told, recorder, drainedNs } = readLate();
  recorder.horizon(drainedNs + WAIT_NS);
  recorder.expire(drainedNs + WAIT_NS, drainedNs);
  assert.equal(execsOf(told).length, 1);
  assert.deepEqual(execsOf(replayed(recorder, undefined)), execsOf(told));
});
