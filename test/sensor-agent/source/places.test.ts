/** Looks at what watched programs run and name, on filesystems that answer and on one that does not any more. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { atLink, atName, deviceAt, pathOf } from '../../../src/sensor-agent/source/places.js';
import { readExecutable } from '../../../src/sensor-agent/source/probe/elf.js';
import { readProcLink } from '../../../src/sensor-agent/source/proc-link.js';
import { ProcessReader } from '../../../src/sensor-agent/source/process-reader.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { SilentFilesystem } from '../../harness/kernel/silent-filesystem.js';
import { until } from '../../harness/until.js';

const isRoot = process.geteuid?.() === 0;
const skip = isRoot ? false : 'needs root';

/** Runs a program; resolves once its kernel shows it as that. */
async function running(t: TestContext, path: string, args: readonly string[], cwd = '/'): Promise<ChildProcess> {
  const child = spawn(path, args, { cwd, stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  await until('the program', () => /S \(sleeping\)/.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')));
  return child;
}

test('links in another root are followed within it, and lead nowhere where they lead around', { skip }, async (t) => {
  const root = scratchDirectory('places');
  const cat = realpathSync('/bin/cat');
  const libraries =
    spawnSync('ldd', [cat])
      .stdout.toString()
      .match(/\/\S+\.so\S*/g) ?? [];
  for (const file of [cat, ...libraries]) {
    mkdirSync(join(root, dirname(file)), { recursive: true });
    copyFileSync(file, join(root, file));
  }
  mkdirSync(join(root, 'own/deep'), { recursive: true });
  writeFileSync(join(root, 'own/ld.so'), 'x');
  symlinkSync('/own', join(root, 'own64'));
  symlinkSync('../ld.so', join(root, 'own/deep/up'));
  symlinkSync('../../../../own/ld.so', join(root, 'out'));
  symlinkSync('/around', join(root, 'around'));
  const child = await running(t, 'chroot', [root, cat]);
  const file = (name: string) => atName(child.pid!, name, (place) => readFileSync(pathOf(place), 'utf8'));
  await until('its root', () => readProcLink(child.pid!, 'exe')?.target.toString() === join(root, cat));
  for (const name of ['/own64/ld.so', '/own64/deep/up', '/out', '/own/../own/./ld.so'])
    assert.equal(file(name), 'x', name);
  for (const name of ['/around', '/own/none', '/own/ld.so/x']) assert.equal(file(name), undefined, name);
  // Links of /proc lead to other roots.
  assert.equal(atName(process.pid, `/proc/${process.pid}/root/etc`, pathOf), undefined);
});

test('filesystems over others are asked where nobody but root can have put them there', { skip }, async (t) => {
  const root = scratchDirectory('places');
  for (const name of ['low', 'high', 'work', 'all']) mkdirSync(join(root, name));
  copyFileSync(realpathSync('/bin/cat'), join(root, 'low/cat'));
  const layers = ['lowerdir=low', 'upperdir=high', 'workdir=work'].map((option) => option.replace('=', `=${root}/`));
  const script = `cd ${root} && mount -t overlay -o ${layers.join(',')} overlay all && exec all/cat`;
  const exe = (pid: number) => readProcLink(pid, 'exe')?.target.toString();
  for (const spaces of ['-m', '-Urm']) {
    const child = spawn('unshare', [spaces, 'sh', '-c', script], { stdio: ['pipe', 'ignore', 'ignore'] });
    t.after(() => child.kill('SIGKILL'));
    await until('the program', () => child.exitCode !== null || exe(child.pid!) === join(root, 'all/cat'));
    if (child.exitCode !== null) return t.skip(`no overlayfs with unshare ${spaces}`);
    assert.equal(
      atLink(child.pid!, 'exe', () => 'asked'),
      spaces === '-m' ? 'asked' : undefined,
    );
  }
});

test('nothing is asked of a filesystem for which a user answers', { skip }, async (t) => {
  const directory = scratchDirectory('places');
  const name = 'program (deleted)';
  const filesystem = await SilentFilesystem.mount({ directory, name, like: realpathSync('/bin/cat') });
  if (filesystem === undefined) return t.skip('no FUSE here');
  t.after(() => spawnSync('umount', ['-l', directory]));
  t.after(() => filesystem.end());
  const path = join(directory, name);
  const child = await running(t, path, [], directory);
  const pid = child.pid!;
  await filesystem.silence();
  const reader = new ProcessReader();
  const found = reader.snapshot(pid);
  // It cannot be told whether this is the file's name.
  assert.deepEqual([found?.executablePath, found?.executableDeleted], [join(directory, 'program'), true]);
  assert.equal(found?.workingDirectory, directory);
  assert.equal(reader.look(pid)?.workingDirectory, directory);
  assert.equal(atLink(pid, 'exe', readExecutable), undefined);
  assert.equal(atName(pid, path, readExecutable), undefined);
  assert.equal(atName(pid, `${directory}/none`, readExecutable), undefined);
  const [own, root] = [deviceAt(pid, 'exe', new Map()), deviceAt(pid, 'root', new Map())];
  assert.match(`${own} ${root}`, /^\d+:\d+ \d+:\d+$/);
  assert.notEqual(own, root);
  assert.equal(await filesystem.end(), undefined, 'it was asked');
});

/** Makes `$1` the root, without the one from before, and mounts directories of its filesystem in it; then runs `$2`. */
const IN_ROOT = `
mount --make-rprivate /
mount --bind "$1" "$1"
for each in /*; do
  if [ -L "$each" ]; then cp -a "$each" "$1$each"; elif [ -d "$each" ]; then mkdir "$1$each"; mount --rbind "$each" "$1$each"; fi
done
mkdir "$1/inner" "$1/outer" "$1/old"
mount --bind "$1/within" "$1/inner"
mount --bind "$1/../without" "$1/outer"
cd "$1"
pivot_root . old
umount -l /old
exec chroot . sh -ec "$2"
`;

test('a file is found where its mount is not, also below a root that is a directory of its filesystem', {
  skip,
}, (t) => {
  const dir = scratchDirectory('places');
  const root = join(dir, 'root');
  for (const name of [join(root, 'within'), join(dir, 'without')]) {
    mkdirSync(name, { recursive: true });
    copyFileSync(realpathSync('/bin/sleep'), join(name, 'sleep'));
  }
  const places = new URL('../../../src/sensor-agent/source/places.js', import.meta.url).href;
  const script = `
    import { readlinkSync } from 'node:fs';
    const { atLink, atOwnRoot, pathOf } = await import('${places}');
    for (const pid of process.argv.slice(1).map(Number))
      console.log(atLink(pid, 'exe', (place) => atOwnRoot(pid, place, (own) => readlinkSync(pathOf(own)))));`;
  const node = `"${process.execPath}" --input-type=module -e "$SCRIPT"`;
  const work = `/inner/sleep 600 & one=$!; /outer/sleep 600 & two=$!; ${node} $one $two; kill $one $two`;
  const env = { ...process.env, SCRIPT: script };
  const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-ec', IN_ROOT, 'sh', root, work], { env });
  if (status !== 0) return t.skip(`cannot have such a root: ${stderr}`);
  assert.deepEqual(stdout.toString().trim().split('\n'), ['/within/sleep', join(dir, 'without/sleep')]);
});
