/** The real source on the real kernel: counts, adoption, and nothing left behind. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TraceInstance } from '../../../../src/sensor-agent/source/tracefs/instance.js';
import { type TracefsOptions, TracefsSource } from '../../../../src/sensor-agent/source/tracefs/tracefs-source.js';
import { firstLine } from '../../../harness/first-line.js';
import { liveTracefs, Recording } from '../../../harness/kernel/live-kernel.js';
import { until } from '../../../harness/until.js';

const live = liveTracefs();
const AGENT = fileURLToPath(new URL('../../../harness/kernel/agent-process.js', import.meta.url));
const BURST = 200;
let serial = 0;
const recorderId = () => `test-${process.pid}-${serial++}`;
const instances = (id: string) =>
  readdirSync(join(live.path, 'instances')).filter((name) => name.startsWith(`backplane-${id}`));
/** Without those in which programs of other tests' containers are copied. */
const ofRoot = (id: string) => instances(id).filter((name) => !/-exec-(one|two)$/.test(name));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A name for /bin/true that nobody else runs. */
const TRUE = join(mkdtempSync(join(tmpdir(), 'tracefs-source-')), 'true');
symlinkSync('/bin/true', TRUE);
after(() => rmSync(dirname(TRUE), { recursive: true }));

function burst(count = BURST): void {
  const script = `i=0; while [ $i -lt ${count} ]; do ${TRUE} $i; i=$((i+1)); done`;
  assert.equal(spawnSync('sh', ['-c', script]).status, 0);
}

function started(
  id: string,
  options: { arguments?: TracefsOptions['arguments'] } = {},
): { source: TracefsSource; seen: Recording } {
  const source = new TracefsSource({ recorderId: id, arguments: options.arguments ?? 'none' });
  cleanups.push(() => source.stop());
  return { source, seen: new Recording(() => source.formats) };
}

function drainAll(source: TracefsSource): void {
  while (!source.drain().empty);
  // A drain may end at a short page; the one after it finds what that left.
  while (!source.drain().empty);
}

test('pages that are read on, to know what happened until now, count as found', { skip: live.skip }, async () => {
  const { source } = started(recorderId());
  const nothing = () => undefined;
  let given = 0;
  let readsOn = false;
  await source.start({
    ...{ exec: nothing, settle: nothing, queries: nothing, note: nothing },
    page: () => given++,
    horizon: (_, readOn) => {
      if (!readsOn) return;
      burst(1);
      readOn!();
    },
  });
  drainAll(source);
  given = 0;
  readsOn = true;
  const { pages } = source.drain();
  assert.equal(pages, given);
});

test('a burst of processes is recorded completely, as a second trace instance counts it', {
  skip: live.skip,
}, async () => {
  const { source, seen } = started(recorderId());
  await source.start(seen);
  const name = `backplane-witness-${process.pid}`;
  const settings = { name, bufferBytesPerCpu: 16 << 20, subBufferBytes: 4096, events: ['sched/sched_process_exec'] };
  const witness = new TraceInstance(live.path, settings);
  cleanups.push(() => witness.removeSync());
  // In parts: on a crowded machine others' events would fill the buffer before all is done.
  for (let part = 0; part < 10; part += 1) {
    burst(BURST / 10);
    source.drain();
  }
  const counted = witness.stats();
  drainAll(source);
  const trues = seen.named('sched_process_exec').filter((event) => event.fields.filename === TRUE);
  assert.equal(trues.length, BURST);
  assert.equal(counted.overrun, 0);
  assert.ok(counted.entries >= BURST + 1 && seen.named('sched_process_exec').length >= counted.entries);
  assert.equal(seen.lost, 0);
  assert.equal(source.overrun(), 0);
  const pids = new Set(trues.map((event) => event.fields.pid));
  const forked = seen.named('task_newtask').filter((event) => pids.has(event.fields.pid));
  const exited = seen.named('sched_process_exit').filter((event) => pids.has(event.fields.pid));
  assert.equal(forked.length, trues.length);
  assert.equal(exited.length, trues.length);
});

test('events of a lane come in order of (time, tie), and none below an announced horizon', {
  skip: live.skip,
}, async () => {
  const { source, seen } = started(recorderId());
  await source.start(seen);
  let horizon = 0n;
  let late = 0;
  for (let round = 0; round < 20; round++) {
    burst(10);
    const before = seen.events.length;
    source.drain();
    late += seen.events.slice(before).filter((event) => event.timeNs < horizon).length;
    horizon = seen.horizons.at(-1)!;
  }
  assert.ok(seen.events.length > 200);
  assert.equal(late, 0);
  for (let lane = 0; lane < source.lanes; lane++) {
    const events = seen.events.filter((event) => event.lane === lane);
    for (let i = 1; i < events.length; i++) {
      const [a, b] = [events[i - 1]!, events[i]!];
      assert.ok(a.timeNs < b.timeNs || (a.timeNs === b.timeNs && b.tie === a.tie + 1));
    }
  }
});

test('entries lost in a too small buffer are counted exactly', { skip: live.skip }, async () => {
  const id = recorderId();
  const source = new TracefsSource({ recorderId: id, bufferBytesPerCpu: 64 * 1024, arguments: 'none' });
  cleanups.push(() => source.stop());
  const seen = new Recording(() => source.formats);
  await source.start(seen);
  burst(2000);
  drainAll(source);
  // A count shows on the next page only: let every lane have one more, and nobody else add to it meanwhile.
  const events = join(live.path, 'instances', `backplane-${id}`, 'events');
  const dir = mkdtempSync(join(tmpdir(), 'backplane-lost-'));
  cleanups.push(() => rmSync(dir, { recursive: true }));
  const own = join(dir, `own-${id}`);
  symlinkSync(TRUE, own);
  writeFileSync(join(events, 'enable'), '0');
  writeFileSync(join(events, 'sched/sched_process_exec/filter'), `filename == "${own}"`);
  writeFileSync(join(events, 'sched/sched_process_exec/enable'), '1');
  await until(
    'that what was lost is what the kernel says',
    () => {
      for (let lane = 0; lane < source.lanes; lane++) spawnSync('taskset', ['-c', String(lane), own]);
      drainAll(source);
      return seen.lost === source.overrun();
    },
    () => [seen.lost, source.overrun()],
  );
  assert.ok(seen.lost > 0);
});

test('the clocks agree with those of the machine', { skip: live.skip }, async () => {
  const { source, seen } = started(recorderId());
  await source.start(seen);
  const before = Date.now();
  const first = source.clock();
  const second = source.clock();
  const after = Date.now();
  for (const { wallNs } of [first, second]) {
    assert.ok(wallNs >= BigInt(before) * 1_000_000n && wallNs <= BigInt(after) * 1_000_000n);
  }
  assert.ok(second.bootNs > first.bootNs);
  const beforeNs = source.clock().bootNs;
  burst(1);
  const afterNs = source.clock().bootNs;
  drainAll(source);
  const event = seen.named('sched_process_exec').find(({ fields }) => fields.filename === TRUE)!;
  assert.ok(event.timeNs > beforeNs && event.timeNs < afterNs);
});

test('stop leaves no instance behind, and can be called again', { skip: live.skip }, async () => {
  const id = recorderId();
  const { source, seen } = started(id, { arguments: 'best' });
  await source.start(seen);
  assert.equal(ofRoot(id).length, 2);
  await source.stop();
  await source.stop();
  assert.deepEqual(instances(id), []);
  assert.throws(() => source.drain(), /not running/);
});

async function agent(id: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [AGENT, id], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanups.push(() => child.kill('SIGKILL'));
  assert.match(await firstLine(child.stdout!), /ready/);
  return child;
}

test('SIGTERM leaves no instance behind', { skip: live.skip }, async () => {
  const id = recorderId();
  const child = await agent(id);
  assert.equal(ofRoot(id).length, 2);
  child.kill('SIGTERM');
  await once(child, 'exit');
  assert.deepEqual(instances(id), []);
});

test('events from while a killed agent was down reach its successor once', {
  skip: live.skip,
}, async () => {
  const id = recorderId();
  const child = await agent(id);
  burst();
  child.stdin!.write('\n');
  assert.ok(Number(/drained (\d+)/.exec(await firstLine(child.stdout!))?.[1]) >= 4 * BURST);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(ofRoot(id).length, 2);
  burst();
  const { source, seen } = started(id, { arguments: 'best' });
  await source.start(seen);
  assert.ok(seen.notes.includes('instance_adopted'));
  burst();
  drainAll(source);
  const trues = seen.named('sched_process_exec').filter((event) => event.fields.filename === TRUE);
  const pids = new Set(trues.map((event) => event.fields.pid));
  // Others may have filled the buffer before it was read.
  assert.ok(trues.length <= 2 * BURST && trues.length + seen.lost >= 2 * BURST, `${trues.length}, ${seen.lost} lost`);
  assert.equal(pids.size, trues.length);
  assert.equal(source.overrun(), undefined);
  await source.stop();
  assert.deepEqual(instances(id), []);
});

test('an instance that a living process reads is left alone', { skip: live.skip }, async () => {
  const id = recorderId();
  const child = await agent(id);
  const { source, seen } = started(id);
  await assert.rejects(source.start(seen), (error: Error) => {
    return error.message.includes(`must be free, but process ${child.pid} reads it`);
  });
  assert.equal(ofRoot(id).length, 2);
  child.kill('SIGTERM');
  await once(child, 'exit');
});

test('an event that the kernel lacks is reported, and is not fatal', { skip: live.skip }, async () => {
  const events = ['sched/sched_process_exec', 'sched/no_such_event'];
  const source = new TracefsSource({ recorderId: recorderId(), events, arguments: 'none' });
  cleanups.push(() => source.stop());
  await source.start(new Recording(() => source.formats));
  assert.match(source.degraded!, /sched\/no_such_event is not recorded/);
  assert.deepEqual(
    source.formats.all().map((format) => format.name),
    ['sched_process_exec'],
  );
});

test('events on demand are off until switched on, and found on by a successor', {
  skip: live.skip,
}, async () => {
  const id = recorderId();
  const kill = 'syscalls/sys_enter_kill';
  const onDemand = [kill, 'syscalls/sys_enter_setns', 'syscalls/no_such_call', 'sched/sched_process_exec'];
  const path = join(live.path, 'instances', `backplane-${id}`);
  const state = (event: string) => readFileSync(join(path, 'events', event, 'enable'), 'utf8').trim();
  const first = new TraceInstance(live.path, {
    name: `backplane-${id}`,
    bufferBytesPerCpu: 1 << 20,
    subBufferBytes: 4096,
    events: ['sched/sched_process_exec'],
    onDemand,
  });
  cleanups.push(() => first.removeSync());
  assert.equal(state(kill), '0');
  first.switch(kill, true);
  assert.equal(state(kill), '1');
  process.kill(process.pid, 0);
  // Its agent dies here: the instance stays as it is.
  const source = new TracefsSource({ recorderId: id, onDemand, arguments: 'none' });
  cleanups.push(() => source.stop());
  const seen = new Recording(() => source.formats);
  await source.start(seen);
  assert.ok(seen.notes.includes('profile_partial'));
  assert.deepEqual([...source.onDemand!.events], [kill, 'syscalls/sys_enter_setns']);
  assert.deepEqual([...source.onDemand!.enabled], [kill]);
  assert.ok(source.formats.byName('syscalls/sys_enter_setns'));
  drainAll(source);
  const fields = seen.named('sys_enter_kill').find((event) => event.fields.pid === BigInt(process.pid))?.fields;
  assert.equal(fields?.sig, 0n);
  source.onDemand!.switch(kill, false);
  assert.equal(state(kill), '0');
  assert.throws(() => source.onDemand!.switch('syscalls/no_such_call', true), { code: 'failed_precondition' });
});

test('a recorder id that could leave the instances directory is refused', () => {
  for (const id of ['', '../x', 'a/b', 'x'.repeat(65), 'a b']) {
    assert.throws(() => new TracefsSource({ recorderId: id, arguments: 'none' }), { code: 'invalid_argument' });
  }
});
