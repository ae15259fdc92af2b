/** Filters in the kernel: written while somebody asks, and changed under load without a hole. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { instanceOwner } from '../../src/sensor-agent/source/tracefs/owner.js';
import { Bus, Command, cannotTrace, type EventLine, type Observer } from '../harness/bus/bus.js';
import { runShellSeen } from '../harness/bus/program.js';
import { liveTracefs } from '../harness/kernel/live-kernel.js';
import { until } from '../harness/until.js';

const live = liveTracefs();
const skip = cannotTrace || live.skip;
const EVENT = 'syscalls/sys_enter_kill';
/** Above every pid there is, so that kill(2) does nothing, and of no process group either, as those are negative. */
const FIRST = randomInt(1_000_000_000, 2_000_000_000);
const LAST = FIRST + 1_000_000;
const NUMBERED = `event.type == "security.kill" && syscall.arg0 >= ${FIRST} && syscall.arg0 <= ${LAST}`;
/** Filters that come and go while calls are made. */
const CHANGES = 4;

/** A trace instance of the test's own that records the very same calls. */
class Witness {
  readonly #path = join(live.path, 'instances', `backplane-test-${process.pid}`);

  constructor() {
    mkdirSync(this.#path);
    writeFileSync(join(this.#path, 'buffer_size_kb'), '16384');
    writeFileSync(join(this.#path, 'events', EVENT, 'filter'), `pid >= ${FIRST} && pid <= ${LAST}`);
    writeFileSync(join(this.#path, 'events', EVENT, 'enable'), '1');
  }

  /** What each call names. */
  numbers(): number[] {
    const text = readFileSync(join(this.#path, 'trace'), 'utf8');
    return Array.from(text.matchAll(/sys_kill\(pid: (?:0x)?([0-9a-f]+),/g), ([, pid]) => Number.parseInt(pid!, 16));
  }

  remove(): void {
    writeFileSync(join(this.#path, 'events', EVENT, 'enable'), '0');
    rmdirSync(this.#path);
  }
}

async function kernelFilter(bus: Bus): Promise<string> {
  const agent = await bus.agentPid();
  const names = readdirSync(join(live.path, 'instances')).filter((name) => name.startsWith('backplane-'));
  const name = names.find((name) => !name.endsWith('-exec') && instanceOwner(name) === agent);
  return readFileSync(join(live.path, 'instances', name!, 'events', EVENT, 'filter'), 'utf8').trim();
}

function call(number: number): void {
  try {
    process.kill(number, 0);
  } catch (cause) {
    assert.equal((cause as NodeJS.ErrnoException).code, 'ESRCH');
  }
}

test('interest that changes under load misses no event that was asked for before and after', { skip }, async () => {
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'security' });
  const others: Observer[] = [];
  const witness = new Witness();
  let changing = true;
  try {
    const observer = await bus.follow('--topic', 'security', '--filter', NUMBERED);
    others.push(observer);
    for (const part of [`pid >= ${FIRST}`, `pid <= ${LAST}`]) assert.ok((await kernelFilter(bus)).includes(part), part);
    const texts = new Set<string>();
    const changes = (async () => {
      for (let round = 0; round < CHANGES; round += 1) {
        const filter = `event.type == "security.kill" && syscall.arg1 == ${round + 40}`;
        const other = await bus.follow('--topic', 'security', '--filter', filter);
        others.push(other);
        texts.add(await kernelFilter(bus));
        await other.stop('SIGINT');
      }
    })().finally(() => {
      changing = false;
    });
    // Fewer in a second than the node may send.
    let last = FIRST;
    for (; changing; last += 1) {
      call(last);
      await sleep(1);
    }
    await changes;
    call(last);
    await observer.sees(({ syscall }) => syscall?.args?.[0] === String(last));
    const seen = observer.events.map(({ syscall }) => Number(syscall!.args![0])).sort((a, b) => a - b);
    assert.deepEqual(
      seen,
      witness.numbers().sort((a, b) => a - b),
    );
    assert.equal(seen.length, last + 1 - FIRST);
    assert.ok(texts.size >= 2, `${texts.size} filters were in force`);
    const [first] = texts;
    assert.ok(first!.includes(`pid >= ${FIRST}`) && first!.includes('sig == 40'), first);
  } finally {
    changing = false;
    for (const other of others) await other.stop('SIGKILL');
    witness.remove();
    await bus.destroy();
  }
});

test('fields that nobody asked for are not sent, and a subscriber to all fields gets all', { skip }, async () => {
  const bus = await Bus.start();
  try {
    const about = ['--topic', 'process', '--filter', 'event.type == "process.exec"'];
    const narrow = await bus.follow(...about, '--field-mask', 'process.executable.path');
    // A path is all that the first one sees: it takes one that nobody else has.
    const shell = join(bus.dataDir, `sh-${randomBytes(8).toString('hex')}`);
    copyFileSync(realpathSync('/bin/sh'), shell);
    chmodSync(shell, 0o755);
    const [alone, both] = [1, 2].map(() => randomBytes(8).toString('hex')) as [string, string];
    const ran = (path: string) => (event: EventLine) => event.process?.executable?.path === path;
    execFileSync(shell, ['-c', ':', alone]);
    await narrow.sees(ran(shell));
    const whole = await bus.follow(...about);
    const full = await runShellSeen(whole, shell, both);
    assert.ok(full.process!.commandArgs!.includes(both));
    const same = await narrow.sees(({ position }) => JSON.stringify(position) === JSON.stringify(full.position));
    const named = ({ process }: EventLine) => Object.keys(process!).filter((field) => field !== 'inferred');
    for (const event of narrow.events) assert.deepEqual(named(event), ['executable']);
    // The mark comes along, where there is one.
    const { executable, ...marks } = full.process!;
    const inferred = Object.entries(marks).filter(([field]) => field === 'inferred');
    assert.deepEqual(same.process, { executable: { path: executable!.path }, ...Object.fromEntries(inferred) });
    assert.deepEqual([same.type, same.time], [full.type, full.time]);
    await narrow.stop('SIGINT');
    await whole.stop('SIGINT');
    // What went over the wire for the first one alone has nothing of the arguments.
    await bus.up.stop();
    const logs = join(bus.dataDir, 'broker');
    const logged = readdirSync(logs, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
    assert.ok(!logged.some((bytes) => bytes.includes(alone)));
    assert.ok(logged.some((bytes) => bytes.includes(both)));
    await bus.start();
    const past = bus.observe(...about, '--since', '1h', '--field-mask', 'process.executable.path,process.pid');
    await past.exited;
    const batches = past.events.filter(ran(shell));
    assert.ok(batches.length >= 2);
    for (const event of batches) assert.deepEqual(named(event).sort(), ['executable', 'pid']);
  } finally {
    await bus.destroy();
  }
});

test('a node that recorded nothing within the window is not asked, and the plan says so', { skip }, async () => {
  const bus = await Bus.start();
  try {
    const recordedFrom = async () => {
      const { nodes } = (await (await bus.get('/v1/nodes')).json()) as {
        nodes: { recordedFrom?: string }[];
      };
      return nodes[0]?.recordedFrom;
    };
    await until('the node reports what it has', recordedFrom);
    const window = ['--since', '2h', '--until', '1h', '--topic', 'process'];
    const plan = new Command(['observe', ...window, '--print-plan'], { BACKPLANE_BROKERS: bus.grpc });
    assert.match(await plan.says(/on every node/), /now none; 1 not asked, as all they have recorded is later/);
    const past = bus.observe(...window);
    // Nothing is missing: nothing was recorded then.
    assert.equal(await past.exited, 0);
    assert.match(past.stderr, /-- no connected node's recording reaches back into the window\n/);
    assert.match(past.stderr, /-- the window begins .*, before the recording: node-under-test from /);
    assert.doesNotMatch(past.stderr, /no node is connected|coverage|incomplete/);
    assert.equal(past.events.length, 0);
  } finally {
    await bus.destroy();
  }
});
