/** The security profile on the real kernel: off, on while it is asked for, and seen. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { instanceOwner } from '../../../src/sensor-agent/source/tracefs/owner.js';
import { Bus, Command, cannotTrace, type EventLine, type Observer } from '../../harness/bus/bus.js';
import { cannotProbeKernel, liveTracefs } from '../../harness/kernel/live-kernel.js';
import { until } from '../../harness/until.js';

const live = liveTracefs();
const skip = cannotTrace || live.skip;
const python = spawnSync('python3', ['--version']).status === 0;
/** Opens a file whose name stands in a page that is in no memory: what looks at the name beforehand sees nothing. */
const COLD_OPEN = `
import ctypes, mmap, os, sys, time
with open(sys.argv[2], 'wb') as f:
    f.write(sys.argv[1].encode().ljust(4096, b'\\0'))
    f.flush()
    os.fsync(f.fileno())
    os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
fd = os.open(sys.argv[2], os.O_RDWR)
page = mmap.mmap(fd, 4096)
page.madvise(mmap.MADV_DONTNEED)
libc = ctypes.CDLL(None)
opened = libc.open(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), 0)
assert opened > 2
time.sleep(0.2)
`;
const CLONE_NEWUTS = 0x0400_0000;

/** What the enable files of the system calls say in the instance that the bus's agent reads. */
async function enabledCalls(bus: Bus): Promise<string[]> {
  const pid = await bus.agentPid();
  const names = readdirSync(join(live.path, 'instances')).filter((name) => name.startsWith('backplane-'));
  const name = names.find((name) => !name.endsWith('-exec') && instanceOwner(name) === pid);
  assert.ok(name, `no instance of ${pid} among ${names.join(' ')}`);
  const text = readFileSync(join(live.path, 'instances', name, 'set_event'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.startsWith('syscalls:'))
    .sort();
}

test('system calls are recorded only while somebody asks for them', { skip }, async () => {
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'security' });
  const observers: Command[] = [];
  try {
    assert.deepEqual(await enabledCalls(bus), []);
    const types = '["security.unshare", "security.kill"]';
    const observer = await bus.follow('--topic', 'security', '--filter', `event.type in ${types}`);
    observers.push(observer);
    // The filter asks for the pid of this test's own child, so that no other process matches.
    const sleeper = spawn('sleep', ['infinity'], { stdio: 'ignore' });
    const arg = String(sleeper.pid);
    const unsharing = spawn('unshare', ['--uts', 'true'], { stdio: 'ignore' });
    process.kill(sleeper.pid!, 0);
    try {
      const unshare = await observer.sees(
        ({ type, process: by }) => type === 'security.unshare' && by?.pid === unsharing.pid,
      );
      assert.equal(unshare.process!.parentPid, process.pid);
      assert.deepEqual(unshare.syscall!.args, [String(CLONE_NEWUTS)]);
      assert.equal(unshare.syscall!.name, 'unshare');
      const kill = await observer.sees(
        ({ type, syscall, process: by }) =>
          type === 'security.kill' && syscall?.args?.[0] === arg && by?.pid === process.pid,
      );
      assert.deepEqual(kill.syscall!.args, [arg, '0']);
    } finally {
      sleeper.kill('SIGKILL');
      await once(sleeper, 'close');
    }
    assert.deepEqual(await enabledCalls(bus), ['syscalls:sys_enter_kill', 'syscalls:sys_enter_unshare']);
    await observer.stop('SIGINT');
    const history = bus.observe('--topic', 'security', '--since', '1h', '--filter', `syscall.arg0 == ${arg}`);
    assert.equal(await history.exited, 0, history.stderr);
    assert.ok(history.events.some(({ type }) => type === 'security.kill'));
  } finally {
    for (const observer of observers) await observer.stop('SIGKILL');
    await bus.destroy();
  }
});

test('a node says of which calls it does not know what they name, and how it has users, as doctor does', {
  skip,
}, async () => {
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'security' });
  try {
    const doctor = new Command(['doctor', '-o', 'json']);
    await doctor.exited;
    const checks = doctor.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; state: string });
    const lacks = (name: string) => checks.find((check) => check.name === name)?.state === 'limited';
    type Listed = { nodes: { blindSpots?: Record<string, string> }[] };
    const spots = await until('its report', async () => {
      const { nodes } = (await (await bus.get('/v1/nodes')).json()) as Listed;
      const said = nodes[0]?.blindSpots;
      return said !== undefined || !(lacks('names in calls') || lacks('users of processes')) ? (said ?? {}) : undefined;
    });
    const calls = Object.keys(spots).filter((type) => type.startsWith('security.'));
    assert.equal(calls.length > 0, lacks('names in calls'), JSON.stringify(spots));
    assert.equal(spots['process.user'] !== undefined, lacks('users of processes'), JSON.stringify(spots));
    if (cannotProbeKernel() !== false) {
      assert.match(spots['security.mount']!, /^what it names is not known, .*: this kernel has no kprobes$/);
      assert.match(spots['process.user']!, /: this kernel has no kprobes$/);
    }
  } finally {
    await bus.destroy();
  }
});

/** Opens a file again and again until it is seen that it was. */
function opened(observer: Observer, path: string, open: () => void, comm?: string): Promise<EventLine> {
  return until(
    `${path} is seen to be opened`,
    () => {
      open();
      return observer.events.find(({ file, process: by }) => file?.path === path && by?.comm === (comm ?? by?.comm));
    },
    () => observer.events.length,
  );
}

test('an opened file is reported with its path, even where the name was in no memory at the open', {
  skip,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'file' });
  const observers: Command[] = [];
  try {
    const plain = join(dir, 'plain');
    const cold = join(dir, 'cold');
    for (const file of [plain, cold]) writeFileSync(file, '');
    const filter = `event.type == "file.open" && file.path.startsWith("${dir}/")`;
    const observer = await bus.follow('--topic', 'file', '--filter', filter);
    observers.push(observer);
    // A path may be missed where the machine is crowded: opened until it was not.
    const seen = await opened(observer, plain, () => spawnSync('sh', ['-c', `exec 3<"${plain}"; sleep 0.2`]));
    assert.equal(seen.process!.comm, 'sh');
    assert.ok(seen.file!.descriptor! >= 3 && !seen.file!.pathMissed);
    if (python)
      await opened(observer, cold, () => spawnSync('python3', ['-c', COLD_OPEN, cold, join(dir, 'name')]), 'python3');
    await observer.stop('SIGINT');
    const history = bus.observe('--topic', 'file', '--since', '1h', '--filter', filter);
    assert.equal(await history.exited, 0, history.stderr);
    const names = (events: typeof history.events) => new Set(events.map(({ file }) => file?.path));
    for (const name of names(observer.events)) assert.ok(names(history.events).has(name), `${name} is in the recorder`);
  } finally {
    for (const observer of observers) await observer.stop('SIGKILL');
    await bus.destroy();
    rmSync(dir, { recursive: true });
  }
});

test('a profile that the node does not allow is refused with the setting to change', { skip }, async () => {
  const bus = await Bus.start();
  try {
    const observer = new Command(['observe', '--topic', 'security', '--follow'], { BACKPLANE_BROKERS: bus.grpc });
    observer.child.stdout!.resume();
    assert.equal(await observer.exited, 2);
    assert.match(observer.stderr, /needs the profile security, which node node-under-test does not allow: set agent/);
    assert.deepEqual(await enabledCalls(bus), []);
  } finally {
    await bus.destroy();
  }
});
