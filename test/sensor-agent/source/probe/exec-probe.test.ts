/** Arguments by the kernel's own copy, on the real kernel. Programs are known by marks that nobody else can make. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { syscallNumber } from '../../../../src/architecture/architecture.js';
import { EXEC_LONG_READ_MS } from '../../../../src/limits.js';
import { ExecArguments } from '../../../../src/sensor-agent/source/exec/exec-arguments.js';
import { EXEC_WAYS, type ExecWay } from '../../../../src/sensor-agent/source/exec/exec-ways.js';
import { atName } from '../../../../src/sensor-agent/source/places.js';
import { define, definitionsOf, probeGroup, undefine } from '../../../../src/sensor-agent/source/probe/definitions.js';
import { readExecutable } from '../../../../src/sensor-agent/source/probe/elf.js';
import { ExecProbe } from '../../../../src/sensor-agent/source/probe/exec-probe.js';
import { fetchArguments } from '../../../../src/sensor-agent/source/probe/probe-layout.js';
import { undefinePoints } from '../../../../src/sensor-agent/source/probe/recorded-points.js';
import { enabledEvents } from '../../../../src/sensor-agent/source/tracefs/instance-controls.js';
import { containerRoot } from '../../../harness/kernel/container-root.js';
import {
  by,
  cleanups,
  KERNEL,
  LINKERS,
  live,
  mark,
  marked,
  opened,
  options,
} from '../../../harness/kernel/exec-ways.js';
import { linkerPlace } from '../../../harness/kernel/other-tool.js';
import { OWN_MACHINE, tinyProgram } from '../../../harness/kernel/tiny-program.js';
import { until } from '../../../harness/until.js';

const AGENT = fileURLToPath(new URL('../../../harness/kernel/agent-process.js', import.meta.url));
const defined = (group: string) => definitionsOf(live.path, group) ?? [];
/** What a file says, as this process reaches it. */
const executable = (path: string) => atName(process.pid, path, readExecutable);

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-probe-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

by(EXEC_WAYS, 'every short program comes with its arguments as it got them, whoever else is busy', async (way) => {
  const { seen } = await opened(way);
  const own = mark();
  const count = 300;
  // Ends at once: nobody who only then looks can read its arguments.
  const script = `i=0; while [ $i -lt ${count} ]; do /bin/true ${own} $i '' 'two words' ä; i=$((i+1)); done`;
  assert.equal(spawnSync('sh', ['-c', script]).status, 0);
  await until(
    'all of them',
    () => marked(seen, own).length >= count,
    () => marked(seen, own).length,
  );
  const records = marked(seen, own).filter(({ process: found }) => found!.args![0] === '/bin/true');
  assert.deepEqual(
    records.map(({ missed, process: found }) => [missed, found!.args]),
    Array.from({ length: count }, (_, at) => [false, ['/bin/true', own, String(at), '', 'two words', 'ä']]),
  );
});

by(EXEC_WAYS, 'what lies behind the arguments, the environment, comes with no record', async (way) => {
  const { seen } = await opened(way);
  const [own, secret] = [mark(), mark()];
  for (const length of [0, 1, 500, 1_400, 1_500, 1_600, 3_000]) {
    spawnSync('/bin/true', [own, 'x'.repeat(length)], { env: { AAA: secret, ZZZ: `${secret}`.repeat(50) } });
  }
  await until(
    'all of them',
    () => marked(seen, own).length === 7,
    () => marked(seen, own).length,
  );
  assert.ok(!JSON.stringify(seen.execs, (_key, value) => (typeof value === 'bigint' ? 0 : value)).includes(secret));
});

by(EXEC_WAYS, 'arguments beyond the copy are cut and said to be, or read while the program lives', async (way) => {
  const { seen } = await opened(way);
  const own = mark();
  const long = 'y'.repeat(5_000);
  spawnSync('/bin/true', [own, long]);
  const living = spawn('sh', ['-c', 'sleep 60', own, long], { stdio: 'ignore' });
  cleanups.push(() => living.kill('SIGKILL'));
  await until('both', () => marked(seen, own).length === 2);
  for (const { pid, missed, process: found } of marked(seen, own)) {
    assert.equal(missed, false);
    if (pid === living.pid) assert.deepEqual([found!.argsTruncated, found!.args!.at(-1)], [undefined, long]);
    else if (found!.argsTruncated) assert.ok(long.startsWith(found!.args![2]!));
    else assert.equal(found!.args![2], long);
  }
});

by(EXEC_WAYS, 'where there was a program with more arguments than are copied, the next is read soon', async (way) => {
  const { seen, probe } = await opened(way, options(), false);
  const [own, long] = [mark(), 'z'.repeat(5_000)];
  const first = mark();
  spawnSync('/bin/true', [first, long]);
  await until('the first', () => {
    probe.drain();
    return marked(seen, first).length === 1;
  });
  const living = spawn('sh', ['-c', 'read line', own, long], { stdio: ['pipe', 'ignore', 'ignore'] });
  cleanups.push(() => living.kill('SIGKILL'));
  await until('that it runs', () => readFileSync(`/proc/${living.pid}/cmdline`, 'utf8').startsWith('sh'));
  // Nobody drains.
  await until('its record', () => marked(seen, own).length === 1);
  assert.equal(seen.execsSettled, seen.execs.length, 'what is in no buffer any more is recorded');
  assert.deepEqual(marked(seen, own)[0]!.process!.args!.slice(3), [own, long]);
  assert.equal(marked(seen, own)[0]!.process!.argsTruncated, undefined);
});

test('a program whose pages nobody has seen yet comes with its arguments all the same', {
  skip: live.skip,
}, async (t) => {
  const given = options();
  const copies = new ExecArguments(given, true);
  cleanups.push(() => copies.stop());
  await copies.start();
  if (copies.by === undefined || copies.by === 'visit') return t.skip('this kernel has no such probes');
  for (const isQuiet of [true, false]) {
    const own = mark();
    // From the second on nothing is read for a while.
    for (let drain = 0; drain < 3; drain += 1) copies.drain(true);
    spawnSync('/bin/true', [own]);
    await until('its arguments', () => {
      copies.drain(isQuiet);
      return marked(given.seen, own).length === 1;
    });
  }
});

/** exit(STATUS), without a linker. */
function staticProgram(status = 0): Buffer {
  return tinyProgram(OWN_MACHINE!, [[syscallNumber('exit')!, status]]);
}

by(
  LINKERS,
  'a program without a linker has no probe: it is altered by nobody, and looked up while it lives',
  async (way, t) => {
    if (OWN_MACHINE === undefined) return t.skip('no program can be made for this architecture');
    const { seen, recorderId } = await opened(way);
    const file = join(scratch(), `static-${mark()}`);
    writeFileSync(file, staticProgram());
    chmodSync(file, 0o755);
    assert.deepEqual(executable(file)?.interpreter, undefined);
    for (let run = 0; run < 20; run += 1) assert.equal(spawnSync(file, [mark()]).status, 0);
    // Other code in the same file: what was probed would still be run.
    writeFileSync(file, staticProgram(7));
    assert.equal(spawnSync(file, [mark()]).status, 7);
    await until(
      'its records',
      () => seen.execs.filter(({ process: found }) => found?.executablePath === file).length >= 21,
    );
    const { dev, ino } = statSync(file);
    const its = `_${dev.toString(16)}_${ino.toString(16)}_`;
    assert.ok(!defined(probeGroup(recorderId)).some((event) => event.includes(its)));
  },
);

by(KERNEL, 'a program without a linker comes with its arguments, from the first time on', async (way, t) => {
  if (OWN_MACHINE === undefined) return t.skip('no program can be made for this architecture');
  const { seen } = await opened(way);
  const [own, file] = [mark(), join(scratch(), 'static')];
  writeFileSync(file, staticProgram());
  chmodSync(file, 0o755);
  for (let run = 0; run < 20; run += 1) assert.equal(spawnSync(file, [own, String(run)]).status, 0);
  await until('all of them', () => marked(seen, own).length === 20);
  assert.deepEqual(
    marked(seen, own).map(({ process: found }) => found!.args),
    Array.from({ length: 20 }, (_, run) => [file, own, String(run)]),
  );
});

/** Runs `meanwhile` while an agent records that reads nothing, kills it, and returns what it had defined. */
async function leftByAgent(recorderId: string, meanwhile: () => void): Promise<string[]> {
  const agent = spawn(process.execPath, [AGENT, recorderId], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanups.push(
    () => undefinePoints(live.path, recorderId),
    () => spawnSync('rmdir', [join(live.path, 'instances', `backplane-${recorderId}`)]),
    () => agent.kill('SIGKILL'),
  );
  await once(agent.stdout, 'data');
  meanwhile();
  const left = defined(probeGroup(recorderId));
  assert.ok(left.length > 0);
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  return left;
}

by(EXEC_WAYS, 'a way that is refused leaves what an earlier agent left to the next one', async (way) => {
  const given = options();
  await leftByAgent(given.recorderId, () => undefined);
  const own = mark();
  spawnSync('/bin/true', [own]);
  const refused: ExecWay = {
    name: 'refused',
    points: () => ({
      ...{
        by: 'kprobe',
        events: [],
        adopt: () => false,
        seek: () => undefined,
        prepare: () => undefined,
        isForeign: () => false,
        used: () => undefined,
        unused: () => [],
        leave: () => false,
        replaced: () => [],
        remove: () => true,
      },
      define: () => {
        throw new Error('refused');
      },
    }),
  };
  assert.throws(() => new ExecProbe(given, refused), /refused/);
  const { seen } = await opened(way, given);
  await until('what was started between', () => marked(seen, own).length === 1);
});

test('a file that is no program is not opened, whatever names it', () => {
  const dir = scratch();
  const fifo = join(dir, 'fifo');
  assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
  // Opening it would wait for whoever writes to it.
  assert.equal(executable(fifo), undefined);
  assert.equal(executable('/dev/null'), undefined);
  assert.equal(executable(dir), undefined);
  writeFileSync(join(dir, 'short'), staticProgram().subarray(0, 100));
  assert.equal(executable(join(dir, 'short')), undefined);
});

/** Whether a definition is of this way: an agent leaves those of the best that its kernel has. */
const isOf =
  ({ name }: ExecWay) =>
  (event: string) =>
    event.includes(KERNEL.some((way) => way.name === name) ? `/kernel_exec_${name}_` : '/exec_');

/** Some, as those of other tests' containers come and go. */
const someGoOn = (events: readonly string[], recorderId: string) =>
  events.some((event) => defined(probeGroup(recorderId)).includes(event));

by(EXEC_WAYS, 'what an agent that was killed left is told, and its probes go on', async (way) => {
  const given = options();
  const own = mark();
  const left = await leftByAgent(given.recorderId, () => {
    for (let run = 0; run < 20; run += 1) spawnSync('/bin/true', [own, String(run)]);
  });
  const { seen } = await opened(way, given);
  await until(
    'all of them',
    () => marked(seen, own).length === 20,
    () => marked(seen, own).length,
  );
  assert.equal(someGoOn(left, given.recorderId), left.some(isOf(way)));
});

by(EXEC_WAYS, 'nothing is told before somebody takes it, however long its arguments are', async (way) => {
  const given = options();
  const own = mark();
  await leftByAgent(given.recorderId, () => spawnSync('/bin/true', [own, 'z'.repeat(5_000)]));
  const { seen, probe } = await opened(way, given, false);
  await sleep(5 * EXEC_LONG_READ_MS);
  assert.deepEqual(seen.execs, []);
  await until('it', () => {
    probe.drain();
    return marked(seen, own).length === 1;
  });
});

by(EXEC_WAYS, "an earlier agent's probes that this one cannot use go when what they recorded was told", async (way) => {
  const given = options();
  const own = mark();
  const old = `${probeGroup(given.recorderId)}/exec_1_0`;
  const left = await leftByAgent(given.recorderId, () => {
    define(live.path, old, linkerPlace(), fetchArguments('%sp'));
    writeFileSync(join(live.path, 'instances', given.name, 'events', old, 'enable'), '1');
    for (let run = 0; run < 20; run += 1) spawnSync('/bin/true', [own, String(run)]);
  });
  const { seen } = await opened(way, given);
  await until('that it is gone', () => !defined(probeGroup(given.recorderId)).includes(old));
  assert.equal(marked(seen, own).length, 20);
  const others = left.filter((event) => event !== old);
  assert.equal(someGoOn(others, given.recorderId), others.some(isOf(way)));
});

by(EXEC_WAYS, 'definitions of others stay as they are, and none of ours is left behind', async (way) => {
  const others = `others_${process.pid}/event`;
  define(live.path, others, linkerPlace(), 'a=+0(%sp):u64');
  cleanups.push(() => undefine(live.path, others));
  const given = options();
  const probe = new ExecProbe(given, way);
  await probe.prove();
  assert.ok(defined(probeGroup(given.recorderId)).length > 0);
  await probe.stop();
  assert.deepEqual(defined(probeGroup(given.recorderId)), []);
  assert.ok(!existsSync(join(live.path, 'instances', given.name)));
  assert.deepEqual(defined(`others_${process.pid}`), [others]);
});

/** Somebody removes them. Only those of this machine's own programs: what other tests' containers have may be gone by then. */
function removeOwn({ recorderId, name }: { readonly recorderId: string; readonly name: string }): string[] {
  const [linker, ours] = [`_${statSync(executable('/bin/true')!.interpreter!).ino.toString(16)}_`, 'kernel_exec_'];
  const on = enabledEvents(join(live.path, 'instances', name));
  const own = defined(probeGroup(recorderId)).filter((event) => event.includes(linker) || event.includes(ours));
  const removed = own.filter((event) => on.includes(event));
  assert.ok(removed.length > 0);
  for (const event of removed) {
    writeFileSync(join(live.path, 'instances', name, 'events', event, 'enable'), '0');
    assert.ok(undefine(live.path, event));
  }
  return removed;
}

/** Containers that come and go are told of, too. */
const untilToldRestored = (probe: ExecProbe) =>
  until('that it is told', () =>
    /^somebody removed \d+ probes of execs: defined anew/.test(probe.look(0)?.message ?? ''),
  );

by(EXEC_WAYS, 'a probe that somebody removed is defined anew', async (way) => {
  const { seen, recorderId, name, probe } = await opened(way);
  const before = removeOwn({ recorderId, name });
  await until('the same again', () => before.every((event) => defined(probeGroup(recorderId)).includes(event)));
  await untilToldRestored(probe);
  const own = mark();
  spawnSync('/bin/true', [own]);
  await until('its arguments', () => marked(seen, own).length === 1);
});

by(EXEC_WAYS, 'probes that somebody removed are no reason to give them up', async (way) => {
  const { recorderId, name, probe } = await opened(way, options(), false);
  removeOwn({ recorderId, name });
  assert.equal(await probe.holds(), true);
  await untilToldRestored(probe);
});

by(LINKERS, 'a new linker is found among many programs that have none and have ended', async (way, t) => {
  const root = containerRoot();
  if (root === undefined) return t.skip('needs a root of its own');
  cleanups.push(() => spawnSync('umount', ['-l', root]));
  if (OWN_MACHINE === undefined) return t.skip('no program can be made for this architecture');
  const file = join(scratch(), 'static');
  writeFileSync(file, staticProgram());
  chmodSync(file, 0o755);
  const { probe, seen } = await opened(way, options(), false);
  for (let run = 0; run < 20; run += 1) spawnSync(file);
  const first = spawn('chroot', [root, '/bin/sleep', '600']);
  cleanups.push(() => first.kill('SIGKILL'));
  await until('that it runs', () => readFileSync(`/proc/${first.pid}/cmdline`, 'utf8').startsWith('/bin/sleep'));
  // All that was started so far is read at once.
  probe.drain();
  const own = mark();
  // Where others start many programs at once, it may be found a moment later.
  await until('a program with its arguments', () => {
    spawnSync('chroot', [root, '/bin/true', own]);
    probe.drain();
    return marked(seen, own).some(({ process: found }) => found!.args![0] === '/bin/true');
  });
});

by(
  LINKERS,
  'a linker that is replaced, as an upgrade does, is found where no program starts, and told',
  async (way, t) => {
    const root = containerRoot();
    if (root === undefined) return t.skip('needs a root of its own');
    cleanups.push(() => spawnSync('umount', ['-l', root]));
    const living = spawn('chroot', [root, '/bin/sleep', '600'], { stdio: 'ignore' });
    cleanups.push(() => living.kill('SIGKILL'));
    await until('that it runs', () => readFileSync(`/proc/${living.pid}/cmdline`, 'utf8').startsWith('/bin/sleep'));
    // Else its linker is sought for a program of that name which ended in another test's container, and found by that.
    for (const name of ['true', 'sleep']) rmSync(join(root, 'bin', name));
    const { probe, recorderId } = await opened(way);
    const linker = join(root, executable('/bin/true')!.interpreter!);
    copyFileSync(linker, `${linker}.new`);
    renameSync(`${linker}.new`, linker);
    await until('that it is told', () =>
      /dynamic linkers were replaced: probed anew/.test(probe.look(0)?.message ?? ''),
    );
    // By the file's number, as probes of others' containers come and go.
    const file = `_${statSync(linker).ino.toString(16)}_`;
    assert.ok(defined(probeGroup(recorderId)).some((event) => event.includes(file)));
  },
);
