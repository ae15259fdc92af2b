/** Filters in the kernel: written while somebody asks, and changed under load without a hole. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { instanceOwner } from '../../src/sensor-agent/source/tracefs/owner.js';
import { liveTracefs } from '../sensor-agent/source/tracefs/live-kernel.js';
import { Bus, Command, cannotTrace, type EventLine } from './bus.js';

const live = liveTracefs();
const skip = cannotTrace || live.skip;
const EVENT = 'syscalls/sys_enter_kill';
/** Above every pid there is: kill(2) of them does nothing, and nobody else calls it so. */
const FIRST = 2_000_000_000;
const CALLS = 3_000;
const NUMBERED = `event.type == "security.kill" && syscall.arg0 >= ${FIRST}`;

/** A trace instance of the test's own that records the very same calls. */
class Witness {
  readonly #path = join(live.path, 'instances', `backplane-test-${process.pid}`);

  constructor() {
    mkdirSync(this.#path);
    writeFileSync(join(this.#path, 'buffer_size_kb'), '4096');
    writeFileSync(join(this.#path, 'events', EVENT, 'filter'), `pid >= ${FIRST}`);
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
  const others: Command[] = [];
  const witness = new Witness();
  let changing = true;
  try {
    const observer = await bus.follow('--topic', 'security', '--filter', NUMBERED);
    others.push(observer);
    assert.match(await kernelFilter(bus), new RegExp(`pid >= ${FIRST}$`));
    const texts = new Set<string>();
    const changes = (async () => {
      for (let round = 0; changing; round += 1) {
        const filter = `event.type == "security.kill" && syscall.arg1 == ${round + 40}`;
        const other = await bus.follow('--topic', 'security', '--filter', filter);
        others.push(other);
        texts.add(await kernelFilter(bus));
        await other.stop('SIGINT');
      }
    })();
    for (let at = 0; at < CALLS; at += 1) {
      call(FIRST + at);
      if (at % 2 === 0) await sleep(1);
    }
    changing = false;
    await changes;
    call(FIRST + CALLS);
    await observer.sees(({ syscall }) => syscall?.args?.[0] === String(FIRST + CALLS));
    const seen = observer.events.map(({ syscall }) => Number(syscall!.args![0])).sort((a, b) => a - b);
    assert.deepEqual(
      seen,
      witness.numbers().sort((a, b) => a - b),
    );
    assert.equal(seen.length, CALLS + 1);
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

test('fields that were not asked for are not sent; who asks for all has all', { skip }, async () => {
  const bus = await Bus.start();
  try {
    const about = ['--topic', 'process', '--filter', 'event.type == "process.exec"'];
    const narrow = await bus.follow(...about, '--field-mask', 'process.executable.path');
    const shell = realpathSync('/bin/sh');
    const alone = `alone-${process.pid}`;
    const both = `both-${process.pid}`;
    const run = (mark: string) => execFileSync('/bin/sh', ['-c', 'sleep 0.05; :', mark]);
    const ran = (path: string) => (event: EventLine) => event.process?.executable?.path === path;
    run(alone);
    await sleep(3000);
    console.error(JSON.stringify(narrow.events.slice(0, 5)));
    await narrow.sees(ran(shell));
    const whole = await bus.follow(...about);
    run(both);
    const full = await whole.sees(({ process }) => process?.commandArgs?.includes(both) === true);
    const same = await narrow.sees(({ position }) => JSON.stringify(position) === JSON.stringify(full.position));
    for (const event of narrow.events) assert.deepEqual(Object.keys(event.process!), ['executable']);
    assert.deepEqual(same.process, { executable: { path: full.process!.executable!.path } });
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
    const past = bus.observe(...about, '--since', '5m', '--field-mask', 'process.executable.path,process.pid');
    await past.exited;
    const batches = past.events.filter(ran(shell));
    assert.ok(batches.length >= 2);
    for (const event of batches) assert.deepEqual(Object.keys(event.process!).sort(), ['executable', 'pid']);
  } finally {
    await bus.destroy();
  }
});

test('a node that has recorded nothing of the window is not asked, and it is said', { skip }, async () => {
  const bus = await Bus.start();
  try {
    const recordedFrom = async () => {
      const { nodes } = (await (await bus.get('/v1/nodes')).json()) as {
        nodes: { recordedFrom?: string }[];
      };
      return nodes[0]?.recordedFrom;
    };
    for (const until = Date.now() + 30_000; (await recordedFrom()) === undefined; await sleep(100)) {
      assert.ok(Date.now() < until, 'the node reports what it has');
    }
    const window = ['--since', '2h', '--until', '1h', '--topic', 'process'];
    const plan = new Command(['observe', ...window, '--print-plan'], { BACKPLANE_BROKERS: bus.grpc });
    assert.match(await plan.says(/on every node/), /now none; 1 not asked, as all they have recorded is later/);
    const past = bus.observe(...window);
    assert.equal(await past.exited, 4);
    assert.match(past.stderr, /coverage node-under-test: .*0 events, .*its recording begins after the window/);
    assert.equal(past.events.length, 0);
  } finally {
    await bus.destroy();
  }
});
