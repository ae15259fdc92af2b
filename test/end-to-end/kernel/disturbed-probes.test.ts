/**
 * Somebody takes the probes of execs away, or the kernel refuses them: the next ones, or /proc, stand in, what is missing
 * is told, and meanwhile programs come with their own arguments or with none.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, renameSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { atName } from '../../../src/sensor-agent/source/places.js';
import { undefine } from '../../../src/sensor-agent/source/probe/definitions.js';
import { readExecutable } from '../../../src/sensor-agent/source/probe/elf.js';
import { enabledEvents } from '../../../src/sensor-agent/source/tracefs/instance-controls.js';
import { put } from '../../../src/sensor-agent/source/tracefs/put.js';
import { Bus, cannotTrace, type EventLine, type Observer } from '../../harness/bus/bus.js';
import { leftOf } from '../../harness/kernel/agent-instances.js';
import { containerRoot } from '../../harness/kernel/container-root.js';
import { cannotProbePrograms, liveTracefs } from '../../harness/kernel/live-kernel.js';
import { until } from '../../harness/until.js';

const skip = cannotTrace || cannotProbePrograms();
const live = liveTracefs();
/** Programs that end at once: nobody who only then looks can read their arguments. */
const PAUSE_MS = 20;
/** So many in a row with their arguments: they come again. */
const IN_A_ROW = 20;

class Programs {
  /** By pid, the arguments that it was started with. */
  readonly started = new Map<number, { readonly args: readonly string[]; readonly atMs: number }>();
  readonly #mark = randomBytes(8).toString('hex');
  readonly #observer: Observer;
  /** Comes before the program itself. */
  readonly #within: readonly string[];

  constructor(observer: Observer, within: readonly string[] = []) {
    this.#observer = observer;
    this.#within = within;
  }

  /** Runs until so many in a row have come with their arguments. */
  async comeWhole(): Promise<void> {
    const from = this.started.size;
    await until(
      'programs with their arguments',
      async () => {
        await this.run();
        const told = this.told().filter(({ pid }) => [...this.started.keys()].indexOf(pid) >= from);
        return told.length > IN_A_ROW && told.slice(-IN_A_ROW).every(({ missed }) => !missed);
      },
      () => this.told().length,
    );
  }

  /** Runs until that has happened, and returns it. */
  async meanwhile<T>(happens: Promise<T>): Promise<T> {
    let pending = true;
    const ended = happens.finally(() => {
      pending = false;
    });
    while (pending) await this.run();
    return ended;
  }

  async run(): Promise<void> {
    const args = ['/bin/true', this.#mark, String(this.started.size)];
    const [program, ...words] = [...this.#within, ...args];
    const child = spawn(program!, words, { stdio: 'ignore' });
    const closed = once(child, 'close');
    this.started.set(child.pid!, { args, atMs: Date.now() });
    await closed;
    await sleep(PAUSE_MS);
  }

  /** What was told of them, in order; never with arguments of another program. */
  told(): { readonly pid: number; readonly missed: boolean }[] {
    return this.#observer.events.flatMap(({ type, process: found }: EventLine) => {
      const wanted = found && this.started.get(found.pid);
      if (type !== 'process.exec' || found?.executable?.path !== '/bin/true' || wanted === undefined) return [];
      const missed = found.commandArgsMissed === true;
      if (!missed) assert.deepEqual(found.commandArgs, wanted.args);
      return [{ pid: found.pid, missed }];
    });
  }

  /** How long after `fromMs` the last program without arguments was started; 0 where all had theirs. */
  lacked(fromMs: number): number {
    const last = this.told().findLast(({ missed }) => missed);
    return last === undefined ? 0 : Math.max(0, this.started.get(last.pid)!.atMs - fromMs);
  }
}

const followed = async (bus: Bus, within: readonly string[] = []) => {
  const observer = await bus.follow('--filter', 'event.type in ["process.exec", "host.degraded"]');
  return { observer, programs: new Programs(observer, within) };
};

const degraded = (observer: Observer, message: RegExp) =>
  observer.sees(({ type, notice }) => type === 'host.degraded' && message.test(notice?.message ?? ''));

/** Runs programs, lets somebody do something, and sees that it is told and over. */
async function disturbed(t: TestContext, what: string, disturb: (bus: Bus) => void, message: RegExp): Promise<void> {
  await t.test(what, async (inner) => {
    const bus = await Bus.start();
    try {
      const { observer, programs } = await followed(bus);
      await programs.comeWhole();
      const atMs = Date.now();
      disturb(bus);
      await programs.meanwhile(degraded(observer, message));
      await programs.comeWhole();
      inner.diagnostic(
        `the last without arguments ${programs.lacked(atMs)} ms after it, of ${programs.started.size} with ${programs.told().filter(({ missed }) => missed).length} missed`,
      );
    } finally {
      await bus.destroy();
    }
  });
}

/** Where the probes of execs are on, and which: not those of other tests' containers, which come and go. */
const probesOn = (bus: Bus) => {
  const { instances, definitions } = leftOf(bus.dataDir);
  const path = join(live.path, 'instances', instances.find((name) => name.endsWith('-exec'))!);
  const events = enabledEvents(path).filter((each) => definitions.includes(each));
  return events.map((event) => ({ event, off: () => put(join(path, 'events', event, 'enable'), '0') }));
};

/** The agent may have switched it on again before it could be removed. */
const removed = ({ event, off }: { readonly event: string; readonly off: () => void }): boolean => {
  for (let attempt = 0; attempt < 10; attempt++) {
    off();
    if (undefine(live.path, event)) return true;
  }
  return false;
};

test('probes that somebody takes away', { skip }, async (t) => {
  await disturbed(
    t,
    'switched off',
    (bus) => {
      for (const { off } of probesOn(bus)) off();
    },
    /somebody changed .*enable.* of the trace instance .*-exec/,
  );
  await disturbed(
    t,
    'removed',
    (bus) => {
      for (const probe of probesOn(bus)) assert.ok(removed(probe), probe.event);
    },
    /somebody removed \d+ probes of execs/,
  );
});

test('while the kernel refuses probes programs are looked up, which is told; then the probes are used', {
  skip,
}, async (t) => {
  const file = join(live.path, 'dynamic_events');
  const script = `mount --bind ${file} ${file} && mount -o remount,ro,bind ${file} && exec "$@"`;
  const bus = await Bus.start({}, ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh']);
  try {
    const { observer, programs } = await followed(bus);
    const nodes = async () => JSON.stringify(await (await bus.get('/v1/nodes')).json());
    await until('that it says so', async () => /"arguments_?[bB]y":"visit"/.test(await nodes()));
    for (let run = 0; run < IN_A_ROW; run++) await programs.run();
    const history = bus.observe('--since', '1h', '--topic', 'host');
    assert.equal(await history.exited, 0, history.stderr);
    const told = history.events
      .filter(({ type }) => type === 'host.degraded')
      .map(({ notice }) => notice?.message ?? '');
    assert.ok(
      told.some((text) =>
        /arguments are read from \/proc: .*dynamic linkers: EROFS.*shortest programs are missed/.test(text),
      ),
      told.join('\n'),
    );
    const atMs = Date.now();
    const { pid } = bus.up.child;
    assert.equal(spawnSync('nsenter', [`--mount=/proc/${pid}/ns/mnt`, 'umount', file]).status, 0);
    await programs.meanwhile(degraded(observer, /the kernel's copy of arguments comes again/));
    await programs.comeWhole();
    t.diagnostic(`the last without arguments ${programs.lacked(atMs)} ms after it was allowed`);
    assert.ok(/"arguments_?[bB]y":"[uk]probe"/.test(await nodes()));
  } finally {
    await bus.destroy();
  }
});

test('a dynamic linker that is replaced, as an upgrade does, is probed anew', {
  skip,
}, async (t) => {
  const root = containerRoot();
  if (root === undefined) return t.skip('needs a root of its own');
  const bus = await Bus.start();
  // While it has no process, a root's linker has no probe.
  const living = spawn('chroot', [root, '/bin/sleep', '600'], { stdio: 'ignore' });
  try {
    const { programs } = await followed(bus, ['chroot', root]);
    await programs.comeWhole();
    for (let upgrade = 0; upgrade < 2; upgrade++) {
      const linker = join(root, atName(process.pid, '/bin/true', readExecutable)!.interpreter!);
      copyFileSync(linker, `${linker}.new`);
      renameSync(`${linker}.new`, linker);
      const atMs = Date.now();
      const file = `_${statSync(linker).ino.toString(16)}_`;
      const isProbed = () => leftOf(bus.dataDir).definitions.some((event) => event.includes(file));
      // Found by a look at its name, or by a program that still lived when it was read.
      await programs.meanwhile(until('its probe', isProbed));
      await programs.comeWhole();
      t.diagnostic(`${basename(linker)}: the last without arguments ${programs.lacked(atMs)} ms after it`);
    }
  } finally {
    living.kill('SIGKILL');
    await once(living, 'close');
    await bus.destroy();
    spawnSync('umount', ['-l', root]);
  }
});
