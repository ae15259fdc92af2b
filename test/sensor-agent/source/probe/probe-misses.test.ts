/** What the kernel says that it missed of our probes, from files as the kernel writes them. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ProbeMisses } from '../../../../src/sensor-agent/source/probe/probe-misses.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const folder = scratchDirectory('test');

/** `group/event` with its calls missed. */
function kernelSays(...events: readonly (readonly [string, number])[]): void {
  const definitions = events.map(([event]) => `p:${event} do_something+0 code=%di:s64\n`);
  const counts = events.map(([event, missed]) => {
    const name = event.slice(event.indexOf('/') + 1);
    return `  ${name.padEnd(44)} ${'17'.padStart(15)} ${String(missed).padStart(15)}\n`;
  });
  writeFileSync(join(folder, 'kprobe_events'), definitions.join(''));
  writeFileSync(join(folder, 'kprobe_profile'), counts.join(''));
}

let timeNs = 100n;
const watch = (adopted = false) => new ProbeMisses(folder, 'abc-1', adopted, () => timeNs);
const OURS = 'backplane_abc_1_recorded';

test('a missed call is told once, with its exact number where the probe alone tells the events', () => {
  kernelSays([`${OURS}/call_unlink`, 2], [`${OURS}/path_unlink`, 2]);
  const misses = watch();
  assert.deepEqual(misses.look(), [], 'what was missed before is nobody’s now');
  kernelSays([`${OURS}/call_unlink`, 5], [`${OURS}/path_unlink`, 5]);
  timeNs = 200n;
  const [miss, ...others] = misses.look();
  assert.deepEqual(others, []);
  assert.deepEqual([miss!.type, miss!.events, miss!.fromNs], ['file.unlink', 3, 100n]);
  assert.match(miss!.message, /call_unlink 3 times: file\.unlink events are missing/);
  assert.deepEqual(misses.look(), []);
  kernelSays([`${OURS}/call_unlink`, 6], [`${OURS}/path_unlink`, 6]);
  assert.equal(misses.look()[0]!.fromNs, 200n);
});

test('where a probe tells a part of events, or there is an event all the same, nothing more is said than is known', () => {
  kernelSays();
  const misses = watch();
  kernelSays(
    [`${OURS}/do_exit`, 1],
    [`${OURS}/security_sock_graft`, 3],
    [`${OURS}/path_open`, 4],
    [`${OURS}/call_ftruncate`, 5],
    [`${OURS}/name_fsconfig`, 6],
    ['backplane_abc_1/kernel_exec_77_0', 7],
    [`${OURS}/udp_send`, 8],
  );
  assert.deepEqual(
    misses.look().map(({ type, events }) => [type, events]),
    [
      ['file.truncate', undefined],
      ['network.udp.send', undefined],
    ],
  );
});

test('where what is known of processes follows from a probe, a miss says so', () => {
  kernelSays([`${OURS}/commit_creds`, 1]);
  const misses = watch();
  assert.deepEqual(misses.look(), []);
  kernelSays([`${OURS}/commit_creds`, 3]);
  const [miss, ...others] = misses.look();
  assert.deepEqual([others, miss!.type, miss!.events], [[], undefined, undefined]);
  assert.match(miss!.message, /did not run the probe commit_creds 2 times: processes are read again$/);
  assert.deepEqual(misses.look(), []);
});

test("others' probes of the same names are theirs", () => {
  kernelSays(['backplane_abc_12_recorded/call_unlink', 0], ['tool/call_unlink', 0], [`${OURS}/call_unlink`, 0]);
  const misses = watch();
  kernelSays(['backplane_abc_12_recorded/call_unlink', 7], ['tool/call_unlink', 8], [`${OURS}/call_unlink`, 0]);
  assert.deepEqual(misses.look(), []);
  kernelSays(['backplane_abc_12_recorded/call_unlink', 9], ['tool/call_unlink', 9], [`${OURS}/call_unlink`, 1]);
  assert.deepEqual(
    misses.look().map(({ events }) => events),
    [1],
  );
});

test('a probe that was defined anew counts from 0, and counts that do not fit the definitions are read again', () => {
  kernelSays([`${OURS}/call_mkdir`, 5]);
  const misses = watch();
  kernelSays([`${OURS}/call_mkdir`, 2]);
  assert.equal(misses.look()[0]!.events, 2);
  const both = [`${OURS}/call_mkdir`, `${OURS}/call_rmdir`] as const;
  kernelSays([both[0], 3], [both[1], 4]);
  writeFileSync(join(folder, 'kprobe_events'), `p:${both[1]} do_rmdir+0\n`);
  assert.deepEqual(misses.look(), []);
  kernelSays([both[0], 3], [both[1], 4]);
  assert.deepEqual(
    misses.look().map(({ type, events }) => [type, events]),
    [
      ['file.mkdir', 1],
      ['file.rmdir', 4],
    ],
  );
});

test('who takes over the events of an agent that died says that some of them may be missing', () => {
  kernelSays([`${OURS}/call_unlink`, 2]);
  const misses = watch(true);
  const [miss] = misses.look();
  assert.deepEqual([miss!.type, miss!.events, miss!.fromNs], ['file.unlink', undefined, undefined]);
  assert.match(miss!.message, /at most 2 times, before this agent/);
  kernelSays([`${OURS}/call_unlink`, 3]);
  assert.equal(misses.look()[0]!.events, 1);
});

test('without such files nothing is known', () => {
  rmSync(join(folder, 'kprobe_profile'));
  assert.deepEqual(watch().look(), []);
});
