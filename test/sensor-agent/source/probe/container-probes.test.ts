/** Probes in the linkers of containers, which come and go with their filesystems. Programs are known by marks. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { syscallNumber } from '../../../../src/architecture/architecture.js';
import { EXEC_PROBE_IDLE_NS, EXEC_PROBES_MAX } from '../../../../src/limits.js';
import { EXEC_WAYS } from '../../../../src/sensor-agent/source/exec/exec-ways.js';
import { foreignNames } from '../../../../src/sensor-agent/source/exec/foreign-copies.js';
import { atName } from '../../../../src/sensor-agent/source/places.js';
import { definitionsOf, probeGroup, undefineAll } from '../../../../src/sensor-agent/source/probe/definitions.js';
import { readExecutable } from '../../../../src/sensor-agent/source/probe/elf.js';
import { LinkerPoints } from '../../../../src/sensor-agent/source/probe/linker-points.js';
import type { ExecRecord } from '../../../../src/sensor-agent/source/source.js';
import { enabledEvents } from '../../../../src/sensor-agent/source/tracefs/instance-controls.js';
import { put } from '../../../../src/sensor-agent/source/tracefs/put.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { containerRoot, copyPrograms } from '../../../harness/kernel/container-root.js';
import { by, cleanups, LINKERS, live, mark, marked, opened } from '../../../harness/kernel/exec-ways.js';
import { OWN_MACHINE, tinyProgram } from '../../../harness/kernel/tiny-program.js';
import { until } from '../../../harness/until.js';

/** That of the file in which a probe is. */
const deviceOf = (event: string) => /\/exec_\d+_\d+_([^_]+)/.exec(event)?.[1];
/** The device and the file that it is in. */
const fileOf = (event: string) => /\/exec_\d+_\d+_([^_]+_[^_]+)/.exec(event)?.[1];
const defined = (recorderId: string) => definitionsOf(live.path, probeGroup(recorderId)) ?? [];

by(
  EXEC_WAYS,
  "a container's programs come with their arguments, and its filesystem can be unmounted when they have ended",
  async (way, t) => {
    const root = containerRoot();
    if (root === undefined) return t.skip('needs a root of its own');
    cleanups.push(() => spawnSync('umount', ['-l', root]));
    const { probe, seen, recorderId, name } = await opened(way);
    const first = spawn('chroot', [root, '/bin/sleep', '60']);
    const ended = new Promise((done) => first.on('close', done));
    cleanups.push(() => first.kill('SIGKILL'));
    const own = mark();
    // Its linker is found at the first program.
    await until('that its linker is known', async () => {
      spawnSync('chroot', [root, '/bin/true', mark()]);
      return seen.execs.some(({ process: found }) => found?.executablePath === '/bin/true');
    });
    const missing = (records: readonly ExecRecord[]) => records.filter(({ missed }) => missed).length;
    const runs = 30;
    for (let run = 0; run < runs; run += 1) spawnSync('chroot', [root, '/bin/true', own, String(run)]);
    // chroot itself is started with the same arguments.
    const inside = () => marked(seen, own).filter(({ process: found }) => found!.args![0] === '/bin/true');
    await until(
      'all of them',
      () => inside().length === runs,
      () => [inside().length, missing(seen.execs)],
    );
    const other = join(live.path, 'instances', `others-${own}`);
    const event = defined(recorderId).find((each) => deviceOf(each) === statSync(root).dev.toString(16));
    if (event !== undefined) {
      mkdirSync(other);
      cleanups.push(() => existsSync(other) && rmdirSync(other));
      put(join(other, 'events', event, 'enable'), '1');
    }
    first.kill('SIGKILL');
    await ended;
    assert.equal(probe.look(0)?.message, undefined);
    if (event !== undefined) {
      const ours = foreignNames(name).map((each) => join(live.path, 'instances', each));
      await until('that only somebody else has it on', () =>
        ours.every((path) => !existsSync(path) || !enabledEvents(path).includes(event)),
      );
      assert.ok(defined(recorderId).includes(event));
      rmdirSync(other);
    }
    await until('that nothing holds it', () => spawnSync('umount', [root]).status === 0);
    assert.equal(probe.look(60_000)?.message, undefined, "what the agent does itself is nobody else's doing");
  },
);

by(LINKERS, "while a container's probe is removed, programs of others come with their arguments", async (way, t) => {
  const [stays, goes] = [containerRoot(), containerRoot()];
  for (const root of [stays, goes]) if (root) cleanups.push(() => spawnSync('umount', ['-l', root]));
  if (stays === undefined || goes === undefined) return t.skip('needs a root of its own');
  const living = [stays, goes].map((root) => spawn('chroot', [root, '/bin/sleep', '600'], { stdio: 'ignore' }));
  for (const child of living) cleanups.push(() => child.kill('SIGKILL'));
  await until('that both run', () =>
    living.every(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/bin/sleep')),
  );
  const { seen, recorderId } = await opened(way);
  const before = defined(recorderId).length;
  const own = mark();
  const name = `/bin/true-${own}`;
  const here = join(scratchDirectory('probe'), own);
  for (const to of [here, join(stays, name)]) copyFileSync('/bin/true', to);
  const loop = `while :; do ${here} ${own}; chroot ${stays} ${name} ${own}; done`;
  const running = spawn('sh', ['-c', loop], { stdio: 'ignore' });
  const ended = once(running, 'close');
  cleanups.push(() => running.kill('SIGKILL'));
  living[1]!.kill('SIGKILL');
  await until('that its probe is gone', () => defined(recorderId).length < before);
  const told = () => seen.execs.filter(({ process: found }) => found?.executablePath?.endsWith(own));
  const soFar = told().length;
  await until(
    'programs after that',
    () => told().length > soFar + 100,
    () => told().length,
  );
  running.kill('SIGKILL');
  await ended;
  const missed = told().filter((each) => each.missed);
  // An instance that is stopped misses a dozen. On a crowded machine one may begin later than it is waited for.
  assert.ok(missed.length < 4, `${missed.length} of ${told().length} missed`);
});

by(LINKERS, 'containers that share their files are probed once, and go on when the first has ended', async (way, t) => {
  const image = containerRoot();
  if (image === undefined) return t.skip('needs a root of its own');
  const [empty, ...roots] = Array.from({ length: 4 }, () => scratchDirectory('overlay'));
  cleanups.push(() => spawnSync('umount', ['-l', image, ...roots]));
  for (const root of roots)
    if (spawnSync('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${image}:${empty}`, root]).status !== 0)
      return t.skip('has no overlays');
  const living = roots.map((root) => spawn('chroot', [root, '/bin/sleep', '600'], { stdio: 'ignore' }));
  for (const child of living) cleanups.push(() => child.kill('SIGKILL'));
  await until('that they run', () =>
    living.every(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/bin/sleep')),
  );
  // Of an overlay over another filesystem a file has not the device of its directory.
  const linker = atName(process.pid, '/bin/true', readExecutable)!.interpreter!;
  const devices = roots.map((root) => statSync(join(root, linker)).dev.toString(16));
  const { seen, recorderId } = await opened(way);
  const probed = () => devices.map((device) => defined(recorderId).some((event) => deviceOf(event) === device));
  const runs = async (root: string) => {
    const own = mark();
    for (let run = 0; run < 20; run += 1) spawnSync('chroot', [root, '/bin/true', own]);
    const inside = () => marked(seen, own).filter(({ process: found }) => found!.args![0] === '/bin/true').length;
    await until('its programs', () => inside() === 20, inside);
  };
  for (const root of roots) await runs(root);
  assert.equal(probed().filter(Boolean).length, 1);
  const first = probed().indexOf(true);
  living[first]!.kill('SIGKILL');
  await until('that another one is probed', () => !probed()[first]);
  assert.equal(probed().filter(Boolean).length, 1);
  await runs(roots[(first + 1) % roots.length]!);
});

by(
  LINKERS,
  'where there is room for no other file, one goes that was removed, or copied nothing for the longest time',
  async (_, t) => {
    const first = scratchDirectory('crowded');
    copyPrograms(first);
    if (spawnSync('chroot', [first, '/bin/true']).status !== 0) return t.skip('needs a root of its own');
    const linker = atName(process.pid, '/bin/true', readExecutable)!.interpreter!;
    const others = Array.from({ length: EXEC_PROBES_MAX }, () => {
      const root = scratchDirectory('crowded');
      spawnSync('cp', ['-al', `${first}/.`, root]);
      rmSync(join(root, linker));
      copyFileSync(join(first, linker), join(root, linker));
      return root;
    });
    const all = [first, ...others].map((root) => spawn('chroot', [root, '/bin/sleep', '600'], { stdio: 'ignore' }));
    for (const child of all) cleanups.push(() => child.kill('SIGKILL'));
    await until('that they run', () =>
      all.every(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/bin/sleep')),
    );
    const group = `crowded_${process.pid}`;
    cleanups.push(() => undefineAll(live.path, group));
    const points = new LinkerPoints(live.path, group);
    const define = (index: number, nowNs: bigint) => points.define(all[index]!.pid!, nowNs, () => undefined);
    for (const index of all.keys()) define(index, 1n);
    assert.equal(points.events.length, EXEC_PROBES_MAX);
    const [used, least] = points.events as [string, string];
    const laterNs = 1n + EXEC_PROBE_IDLE_NS;
    assert.deepEqual(points.unused(laterNs), [], 'none is idle for so long');
    for (const event of points.events) if (event !== least) points.used(event, 2n);
    points.used(used, laterNs);
    const last = all.length - 1;
    define(last, laterNs);
    assert.deepEqual(points.unused(laterNs + 1n), [least]);
    assert.ok(points.remove(least));
    define(last, laterNs + 2n);
    assert.equal(points.events.length, EXEC_PROBES_MAX);
    assert.deepEqual(points.unused(laterNs + 3n), [], 'nobody asked for more');
    if (points.isForeign(used)) return;
    // An image that is removed takes its linker along.
    rmSync(join(first, linker));
    assert.deepEqual(points.unused(laterNs + 4n), [], 'nor now');
    define(1, laterNs + 5n);
    assert.deepEqual(points.unused(laterNs + 6n), [used]);
  },
);

by(LINKERS, 'a directory of the root that is mounted elsewhere can be unmounted, too', async (way, t) => {
  const [directory, point] = [scratchDirectory('directory'), scratchDirectory('point')];
  copyPrograms(directory);
  if (spawnSync('mount', ['--bind', directory, point]).status !== 0) return t.skip('needs a root of its own');
  cleanups.push(() => spawnSync('umount', ['-l', point]));
  const { seen } = await opened(way);
  const own = mark();
  const inside = () => marked(seen, own).filter(({ process: found }) => found!.args![0] === '/bin/true').length;
  const living = spawn('chroot', [point, '/bin/sleep', '600'], { stdio: 'ignore' });
  cleanups.push(() => living.kill('SIGKILL'));
  const ended = once(living, 'close');
  await until('that its linker is known', () => {
    spawnSync('chroot', [point, '/bin/true', own]);
    return inside() > 3;
  });
  living.kill('SIGKILL');
  await ended;
  await until('that nothing holds it', () => spawnSync('umount', [point]).status === 0);
});

by(LINKERS, 'of a root in which each program ends at once the second comes with its arguments', async (way, t) => {
  const { seen } = await opened(way);
  const root = containerRoot();
  if (root === undefined) return t.skip('needs a root of its own');
  cleanups.push(() => spawnSync('umount', ['-l', root]));
  const name = `/bin/true-${mark()}`;
  copyFileSync('/bin/true', join(root, name));
  const told = () => seen.execs.filter(({ process: found }) => found?.executablePath?.endsWith(name));
  for (const turn of [1, 2, 3]) {
    spawnSync('chroot', [root, name, String(turn)]);
    await until(
      'it',
      () => told().length === turn,
      () => told().length,
    );
  }
  assert.deepEqual(
    told()
      .slice(1)
      .map(({ process: found }) => found!.args),
    ['2', '3'].map((turn) => [name, turn]),
  );
});

by(
  LINKERS,
  "a root's linker is found by a process that needs none, whose first program ends at once",
  async (way, t) => {
    if (OWN_MACHINE === undefined) return t.skip('no program can be made for this architecture');
    const root = containerRoot();
    if (root === undefined) return t.skip('needs a root of its own');
    cleanups.push(() => spawnSync('umount', ['-l', root]));
    const { seen } = await opened(way);
    const [own, waits] = [mark(), `/bin/waits-${mark()}`];
    // read(0, _, 1)
    writeFileSync(join(root, waits), tinyProgram(OWN_MACHINE, [[syscallNumber('read')!, 0, 0x40_0000, 1]]));
    chmodSync(join(root, waits), 0o755);
    const living = spawn('chroot', [root, waits], { stdio: ['pipe', 'ignore', 'ignore'] });
    cleanups.push(() => living.kill('SIGKILL'));
    await until('that it was looked up', () =>
      seen.execs.some(({ pid, process: found }) => pid === living.pid && found?.executablePath?.endsWith(waits)),
    );
    spawnSync('chroot', [root, '/bin/true', own]);
    await until('the first with a linker', () =>
      marked(seen, own).some(({ process: found }) => found!.args![0] === '/bin/true'),
    );
  },
);

by(LINKERS, "a container's linker is probed in its image before it begins, and its mount is free", async (way, t) => {
  const [image, ...roots] = ['image', 'root', 'root'].map((name) => scratchDirectory(name));
  copyPrograms(image!);
  if (statSync(image!).dev !== statSync('/').dev) return t.skip("has no directory on the root's filesystem");
  const mounted = (root: string) => {
    const layers = [
      `lowerdir=${image}`,
      `upperdir=${scratchDirectory('upper')}`,
      `workdir=${scratchDirectory('work')}`,
    ];
    cleanups.push(() => spawnSync('umount', ['-l', root]));
    return spawnSync('mount', ['-t', 'overlay', 'overlay', '-o', layers.join(), root]).status === 0;
  };
  const { seen, recorderId } = await opened(way);
  const interpreter = atName(process.pid, '/bin/true', readExecutable)!.interpreter!;
  const { dev, ino } = statSync(join(image!, interpreter));
  const file = [dev, ino].map((each) => each.toString(16)).join('_');
  // Others' containers come and go meanwhile.
  const probesOfIt = () => defined(recorderId).filter((event) => fileOf(event) === file).length;
  for (const root of roots) {
    if (!mounted(root)) return t.skip('has no overlays');
    await until('that its linker is probed', () => probesOfIt() > 0);
    const own = mark();
    for (const run of [1, 2, 3]) spawnSync('chroot', [root, '/bin/true', own, String(run)]);
    const inside = () => marked(seen, own).filter(({ process: found }) => found!.args![0] === '/bin/true').length;
    await until('its programs, from the first on', () => inside() === 3, inside);
    // Any other agent on this machine looks into it for a moment, too.
    await until('that its mount is free', () => spawnSync('umount', [root]).status === 0);
    assert.equal(probesOfIt(), 1, 'the one of the image stays');
  }
});

/** A filesystem with two subvolumes that are mounted apart, with programs; undefined where there can be none. */
function subvolumes(): readonly [string, string] | undefined {
  const [dir, whole, one, two] = ['file', 'whole', 'one', 'two'].map((name) => scratchDirectory(name)) as string[];
  const file = join(dir!, 'disk');
  const run = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
  cleanups.push(() => spawnSync('umount', ['-l', two!, one!, whole!]));
  const made =
    run('truncate', '-s', '128M', file) &&
    run('mkfs.btrfs', '-q', file) &&
    run('mount', '-o', 'loop', file, whole!) &&
    run('btrfs', 'subvolume', 'create', join(whole!, 'a')) &&
    run('btrfs', 'subvolume', 'create', join(whole!, 'b')) &&
    run('mount', '--bind', join(whole!, 'a'), one!) &&
    run('mount', '--bind', join(whole!, 'b'), two!);
  if (!made) return undefined;
  for (const root of [one!, two!]) copyPrograms(root);
  return [one!, two!];
}

by(LINKERS, 'a subvolume can be unmounted while programs of another one run', async (way, t) => {
  const roots = subvolumes();
  if (roots === undefined) return t.skip('has no subvolumes');
  const living = roots.map((root) => spawn('chroot', [root, '/bin/sleep', '600'], { stdio: 'ignore' }));
  for (const child of living) cleanups.push(() => child.kill('SIGKILL'));
  await until('that both run', () =>
    living.every(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/bin/sleep')),
  );
  const { recorderId } = await opened(way);
  const probed = () => roots.map((root) => defined(recorderId).some((event) => deviceOf(event) === deviceAt(root)));
  const deviceAt = (root: string) => statSync(root).dev.toString(16);
  assert.deepEqual(probed(), [true, true]);
  const ended = once(living[0]!, 'close');
  living[0]!.kill('SIGKILL');
  await ended;
  await until('that nothing holds it', () => spawnSync('umount', [roots[0]]).status === 0);
  assert.equal(probed()[1], true);
});
