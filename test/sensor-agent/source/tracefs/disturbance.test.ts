/** Somebody changes our trace instances on the real kernel: noticed, put back, and events come again. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { INSTANCE_RESTORES_MAX } from '../../../../src/limits.js';
import type { Disturbance } from '../../../../src/sensor-agent/source/source.js';
import { TraceInstance } from '../../../../src/sensor-agent/source/tracefs/instance.js';
import { put } from '../../../../src/sensor-agent/source/tracefs/put.js';
import { type TracefsOptions, TracefsSource } from '../../../../src/sensor-agent/source/tracefs/tracefs-source.js';
import { liveTracefs, Recording } from '../../../harness/kernel/live-kernel.js';
import { until } from '../../../harness/until.js';

const live = liveTracefs();
const EXEC = 'events/sched/sched_process_exec';
const STALL_MS = 60_000;
let serial = 0;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A name for /bin/true that nobody else runs. */
const TRUE = join(mkdtempSync(join(tmpdir(), 'disturbance-')), 'true');
symlinkSync('/bin/true', TRUE);
after(() => rmSync(dirname(TRUE), { recursive: true }));

/** The kernel's word of a write comes with the next turn of the loop. */
const heard = () => sleep(50);

class Watched {
  readonly seen: Recording;
  readonly source: TracefsSource;
  readonly found: Disturbance[] = [];
  readonly path: string;
  /** Moves on as the agent's clock would, without the waiting. */
  nowMs = 1_000;

  constructor(ways: TracefsOptions['arguments'] = 'none', onDemand: readonly string[] = []) {
    const id = `test-${process.pid}-d${serial++}`;
    this.source = new TracefsSource({ recorderId: id, arguments: ways, onDemand });
    cleanups.push(() => this.source.stop());
    this.seen = new Recording(() => this.source.formats, false);
    this.path = join(live.path, 'instances', `backplane-${id}`);
  }

  async start(): Promise<this> {
    await this.source.start(this.seen);
    // What it makes of its own writes.
    await heard();
    assert.deepEqual(this.look(), []);
    return this;
  }

  /** As after 1.6 s. */
  look(): readonly Disturbance[] {
    this.source.drain();
    this.nowMs += 1_600;
    const found = this.source.look(this.nowMs);
    this.found.push(...found);
    return found;
  }

  put(file: string, text: string): void {
    put(join(this.path, file), text);
  }

  empty(file: string): void {
    closeSync(openSync(join(this.path, file), constants.O_WRONLY | constants.O_TRUNC));
  }

  text(file: string): string {
    return readFileSync(join(this.path, file), 'utf8').trim();
  }

  /** Programs run from now on are recorded. */
  async records(): Promise<void> {
    const before = this.execs();
    await until('that something is recorded', () => {
      assert.equal(spawnSync(TRUE).status, 0);
      while (!this.source.drain().empty);
      return this.execs() > before;
    });
  }

  execs(): number {
    return this.seen.named('sched_process_exec').filter((event) => event.fields.filename === TRUE).length;
  }
}

const OTHER_EVENT = 'events/sched/sched_process_wait';

/** Changes that somebody may make, and the file that the report names. */
const CHANGES: Readonly<Record<string, readonly [(w: Watched) => void, RegExp]>> = {
  tracing_on: [(w) => w.put('tracing_on', '0'), /tracing_on/],
  'events/enable': [(w) => w.put('events/enable', '0'), /sched_process_exec\/enable/],
  'a group': [(w) => w.put('events/sched/enable', '0'), /sched_process_exec\/enable/],
  'one event': [(w) => w.put(`${EXEC}/enable`, '0'), /sched_process_exec\/enable/],
  set_event: [(w) => w.empty('set_event'), /sched_process_exec\/enable/],
  'a filter': [(w) => w.put(`${EXEC}/filter`, 'pid == 1'), /filter/],
  'a trigger': [(w) => w.put(`${EXEC}/trigger`, 'traceoff'), /trigger/],
  'a trigger of another event': [
    (w) => w.put(`${OTHER_EVENT}/trigger`, 'disable_event:sched:sched_process_exec'),
    /sched_process_wait|sched_process_exec/,
  ],
  'another event': [(w) => w.put(`${OTHER_EVENT}/enable`, '1'), /sched_process_wait/],
  set_event_pid: [(w) => w.put('set_event_pid', '1'), /set_event_pid/],
  set_event_notrace_pid: [(w) => w.put('set_event_notrace_pid', '1'), /set_event_notrace_pid/],
  tracing_cpumask: [(w) => w.put('tracing_cpumask', '0'), /tracing_cpumask/],
  trace_clock: [(w) => w.put('trace_clock', 'counter'), /trace_clock/],
  buffer_size_kb: [(w) => w.put('buffer_size_kb', '8'), /buffer_size_kb/],
  'one CPU\u2019s buffer': [(w) => w.put('per_cpu/cpu0/buffer_size_kb', '8'), /buffer_size_kb/],
  free_buffer: [(w) => w.empty('free_buffer'), /buffer_size_kb|tracing_on/],
  'trace, emptied': [(w) => w.empty('trace'), /wrote to trace |emptied/],
  'options/overwrite': [(w) => w.put('options/overwrite', '0'), /trace_options/],
  'options/pause-on-trace': [(w) => w.put('options/pause-on-trace', '1'), /trace_options/],
};

for (const [name, [change, named]] of Object.entries(CHANGES)) {
  test(`a change of ${name} is noticed at the next look and put back, and events come again`, {
    skip: live.skip,
  }, async () => {
    const watched = await new Watched().start();
    await watched.records();
    assert.deepEqual(watched.look(), [], 'nothing was changed yet');
    const beforeNs = watched.source.clock().bootNs;
    change(watched);
    await heard();
    const [found, ...more] = watched.look();
    assert.ok(found, 'not noticed');
    assert.deepEqual(more, []);
    assert.equal(found.state, 'restored', found.message);
    assert.match(found.message, named);
    assert.ok(found.fromNs !== undefined && found.fromNs <= beforeNs, 'from the last look that was right');
    assert.equal(found.loses, true);
    await watched.records();
    await heard();
    assert.deepEqual(watched.look(), [], 'restored, it is right');
  });
}

test('a change that is undone between two looks is noticed where the kernel reports writes', {
  skip: live.skip,
}, async (t) => {
  const watched = await new Watched().start();
  await watched.records();
  watched.look();
  watched.put('tracing_on', '0');
  watched.put('tracing_on', '1');
  await heard();
  const [found] = watched.look();
  if (found === undefined) return t.skip('this kernel does not tell of writes to tracefs');
  assert.match(found.message, /wrote to tracing_on/);
  assert.equal(found.loses, true);
});

test('another reader that takes pages is noticed by the count of entries', { skip: live.skip }, async () => {
  const watched = await new Watched().start();
  await watched.records();
  watched.look();
  for (let i = 0; i < 20; i++) spawnSync(TRUE);
  let taken = 0;
  for (const cpu of readdirSync(join(watched.path, 'per_cpu'))) {
    const fd = openSync(
      join(watched.path, 'per_cpu', cpu, 'trace_pipe_raw'),
      constants.O_RDONLY | constants.O_NONBLOCK,
    );
    try {
      taken += readSync(fd, Buffer.alloc(65_536));
    } catch {
      // This CPU has no entries.
    } finally {
      closeSync(fd);
    }
  }
  assert.ok(taken > 0);
  const [found] = watched.look();
  assert.match(found?.message ?? '', /[1-9]\d* of its events were taken by another reader/);
  assert.deepEqual(watched.look(), []);
});

test('an instance cannot be removed under its agent', { skip: live.skip }, async () => {
  const watched = await new Watched().start();
  assert.throws(() => rmdirSync(watched.path), /EBUSY/);
  await watched.records();
});

for (const ways of ['best', 'visit'] as const)
  test(`the instance that arguments come from is watched too, and they come again after a repair (${ways})`, {
    skip: live.skip,
  }, async () => {
    const watched = await new Watched(ways).start();
    const lane = `${watched.path}-exec`;
    put(join(lane, 'tracing_on'), '0');
    await heard();
    const [found] = watched.look();
    assert.match(found?.message ?? '', /tracing_on.*-exec.*arguments of programs may be missing/);
    assert.equal(found?.loses, false, 'the events themselves are in the other instance');
    const mark = `${process.pid}${serial}`;
    await until('arguments', () => {
      spawnSync('sh', ['-c', 'sleep 0.05; :', mark]);
      watched.source.drain();
      return watched.seen.execs.some(({ process: read }) => read?.args?.at(-1) === mark);
    });
  });

test("changes by the agent itself are not mistaken for somebody else's", { skip: live.skip }, async () => {
  const watched = await new Watched('none', ['signal/signal_deliver']).start();
  const { onDemand } = watched.source;
  for (let round = 0; round < 3; round++) {
    onDemand!.switch('signal/signal_deliver', true);
    onDemand!.filter('signal/signal_deliver', []);
    onDemand!.filter('signal/signal_deliver', undefined);
    if (round % 2 === 1) onDemand!.switch('signal/signal_deliver', false);
    await heard();
    assert.deepEqual(watched.look(), []);
  }
});

test('an instance that is changed again and again is left so for a while, reported once, and then put back', {
  skip: live.skip,
}, async () => {
  const watched = await new Watched().start();
  const change = async () => {
    watched.put('tracing_on', '0');
    await heard();
    return watched.look()[0];
  };
  for (let round = 0; round < INSTANCE_RESTORES_MAX - 1; round++) assert.equal((await change())?.state, 'restored');
  assert.match((await change())?.message ?? '', /has it so for 30 s/);
  const left = await change();
  assert.equal(left?.state, 'left');
  for (let round = 0; round < 5; round++) assert.equal(watched.look()[0], undefined, 'said once');
  assert.equal(watched.text('tracing_on'), '0', 'it is left as they want it');
  watched.nowMs += 60_000;
  const over = watched.look()[0];
  assert.deepEqual([over?.state, over?.fromNs], ['over', left?.fromNs]);
  assert.equal(watched.text('tracing_on'), '1');
  await watched.records();
});

test('while an instance is left changed, a quick look that sees no difference does not count as repaired', {
  skip: live.skip,
}, async () => {
  const watched = await new Watched().start();
  const change = async (file: string, text: string) => {
    watched.put(file, text);
    await heard();
    return watched.look()[0];
  };
  for (let round = 0; round < INSTANCE_RESTORES_MAX; round++) await change('tracing_on', '0');
  const left = await change(`${EXEC}/filter`, 'pid == 1');
  assert.equal(left?.state, 'left');
  for (let round = 0; round < 5; round++) {
    await heard();
    assert.equal(watched.look()[0], undefined, 'it is not right yet');
  }
  watched.nowMs += 60_000;
  const over = watched.look()[0];
  assert.deepEqual([over?.state, over?.fromNs], ['over', left?.fromNs]);
  assert.equal(watched.text(`${EXEC}/filter`), 'none');
  await watched.records();
});

test('a change made while no agent ran is reported by the next agent', { skip: live.skip }, async () => {
  const watched = new Watched();
  const events = ['sched/sched_process_exec'];
  const name = watched.path.split('/').at(-1)!;
  // Its agent dies here: the instance stays as it is.
  new TraceInstance(live.path, { name, bufferBytesPerCpu: 1 << 20, subBufferBytes: 4096, events });
  watched.put('tracing_on', '0');
  watched.put('set_event_pid', '1');
  await watched.source.start(watched.seen);
  assert.deepEqual([watched.text('tracing_on'), watched.text('set_event_pid')], ['1', '']);
  const [found] = watched.look();
  assert.match(found?.message ?? '', /tracing_on, set_event_pid of .* was changed while no agent was there/);
  assert.equal(found?.fromNs, undefined, 'nobody knows since when');
  await watched.records();
});

test('tracefs that somebody unmounts is mounted again, and this is reported', { skip: live.skip }, async (t) => {
  const script = fileURLToPath(new URL('../../../harness/kernel/unmounted-agent.js', import.meta.url));
  const id = `test-${process.pid}-d${serial++}`;
  // In a mount namespace of its own: others go on using theirs.
  const args = ['--mount', '--propagation', 'private', process.execPath, script, id];
  const { status, stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8', timeout: 2 * STALL_MS });
  if (/unshare failed|Operation not permitted/.test(stderr)) return t.skip(stderr.trim());
  assert.equal(status, 0, stderr);
  const { found, again } = JSON.parse(stdout) as { found: Disturbance[]; again: boolean };
  assert.match(found[0]?.message ?? '', /tracefs \(read "unmounted"\)/);
  assert.equal(found[0]?.state, 'restored');
  assert.equal(found[0]?.loses, false, 'the kernel recorded on');
  assert.equal(again, true, 'what happens then is recorded');
});
