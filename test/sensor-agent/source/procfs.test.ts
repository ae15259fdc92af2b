/** The degraded source, on the real /proc. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { ProcfsSource } from '../../../src/sensor-agent/source/procfs.js';
import { Recording } from '../../harness/kernel/live-kernel.js';
import { until } from '../../harness/until.js';

test('the start, a change of program and the end of a process are seen', {
  skip: !existsSync('/proc/self/stat') && 'no /proc',
}, async (t) => {
  const source = new ProcfsSource({ pollMs: 1 });
  const seen = new Recording(() => source.formats);
  await source.start(seen);
  const child = spawn('sh', ['-c', 'read line; exec sleep 60'], { stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  const pid = child.pid!;
  const ours = (name: string) => seen.named(name).filter((event) => event.fields.pid === pid);
  await drainUntil(source, 'the shell', () =>
    ours('sched_process_exec').some((event) => String(event.fields.filename).includes('sh')),
  );
  assert.equal(ours('task_newtask').length, 1);
  const record = seen.execs.find((exec) => exec.pid === pid && exec.process?.args?.includes('-c'));
  assert.equal(record?.missed, false);
  assert.equal(record?.process?.parentPid, process.pid);
  child.stdin.write('\n');
  await drainUntil(source, 'the next program', () =>
    ours('sched_process_exec').some((event) => String(event.fields.filename).includes('sleep')),
  );
  child.kill('SIGKILL');
  await once(child, 'exit');
  await drainUntil(source, 'the end', () => ours('sched_process_exit').length === 1);
  assert.match(source.degraded, /not seen/);
  assert.ok(seen.horizons.every((horizon, i) => i === 0 || horizon > seen.horizons[i - 1]!));
  await source.stop();
  assert.throws(() => source.drain(), /not running/);
});

function drainUntil(source: ProcfsSource, what: string, done: () => boolean): Promise<boolean> {
  return until(what, () => {
    source.drain();
    return done();
  });
}
