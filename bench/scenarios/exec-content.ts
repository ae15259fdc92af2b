/**
 * Whether every program is told with exactly the arguments that it got: a mix of programs whose arguments are made at
 * random, half of them under strace, which says what it saw them get; compared one by one with what a live subscriber
 * and history say. The agent is killed (-9) while they run, twice. As root; needs python3 and strace.
 *
 *   node dist/bench/scenarios/exec-content.js [PROGRAMS]
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Bus } from '../../test/harness/bus/bus.js';
import { account, type Started } from '../measuring/exec-account.js';
import { report } from '../measuring/report.js';
import { traced } from '../measuring/strace.js';

const PROGRAMS = Number(process.argv[2] ?? 10_000);
/** No new event for so long: there is nothing more to come. */
const QUIET_MS = 10_000;
/** From the start of a half to the kill. */
const KILL_MS = 3_000;
const PRINTED_BYTES_MAX = 1 << 28;

/** Prints what each started program must be told with, one JSON list a line, and how many milliseconds it lived at most. */
const MIX = `
import json, os, random, sys, time
mark, count, script = sys.argv[1], int(sys.argv[2]), sys.argv[3]
letters = 'abcdefghijklmnopqrstuvwxyz-/. ' + chr(228) + chr(8364)
def text(longest): return ''.join(random.choice(letters) for _ in range(random.randrange(longest)))
environment = {'SECRET': mark[::-1], 'PATH': '/usr/bin:/bin'}
running = {}
def wait():
    while running:
        pid, _ = os.wait()
        before, told = running.pop(pid)
        lived = (time.monotonic() - before) * 1e3
        for each in told: print(json.dumps({'args': each, 'livedMs': lived}))
for number in range(count):
    kind = random.randrange(10)
    rest = [f'{mark}-{number}'] + [text(40) for _ in range(random.choice([0, 1, 3, 10, 30]))]
    if kind == 9: rest += ['x' * random.choice([1000, 4000, 20000])]
    if kind < 6: given = ['/bin/true'] + rest
    elif kind < 8: given = [script] + rest
    else: given = ['/usr/bin/env', '/bin/true'] + rest
    told = [given]
    if kind in (6, 7): told = [['/bin/sh', script] + rest]
    if kind >= 8: told = [given, ['/bin/true'] + rest]
    before = time.monotonic()
    running[os.posix_spawn(given[0], given, environment)] = (before, told)
    # One at a time, or some at once.
    if random.randrange(3) > 0 or len(running) > 8: wait()
wait()
`;

const dir = mkdtempSync(join(tmpdir(), 'backplane-content-'));
const script = join(dir, 'script');
writeFileSync(script, '#!/bin/sh\nexit 0\n');
chmodSync(script, 0o755);
const bus = await Bus.start();
try {
  const mark = `mark_${randomBytes(8).toString('hex')}`;
  const filter = `event.type == "process.exec" && process.command_args.exists(a, a.contains("${mark}"))`;
  const observer = await bus.follow('--filter', filter);
  const plain = await killedMeanwhile(() => mix(`${mark}_plain`));
  const witnessed = await killedMeanwhile(() => mixUnderStrace(`${mark}_strace`));
  await settled(() => observer.events.length);
  await observer.stop('SIGINT');
  const history = bus.observe('--since', '3h', '--filter', filter);
  if ((await history.exited) !== 0) throw new Error(history.stderr);
  const rows = [];
  for (const [where, events] of [
    ['live', observer.events],
    ['history', history.events],
  ] as const) {
    rows.push({ where, as: 'they were started', ...account(`${mark}_plain`, plain, events) });
    rows.push({ where, as: 'strace saw them', ...account(`${mark}_strace`, witnessed, events) });
  }
  report('programs told with the arguments that they got, kill -9 of the agent in the middle', rows);
} finally {
  await bus.destroy();
  rmSync(dir, { recursive: true, force: true });
}

function command(mark: string): string[] {
  return ['python3', '-c', MIX, mark, String(PROGRAMS / 2), script];
}

function startedOf(printed: string): Started[] {
  const lines = printed.trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Started);
}

async function mix(mark: string): Promise<Started[]> {
  const [program, ...args] = command(mark) as [string, ...string[]];
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: PRINTED_BYTES_MAX });
  return startedOf(stdout);
}

/** As strace has them, which agrees with how they were started. */
async function mixUnderStrace(mark: string): Promise<Started[]> {
  const { stdout, execs } = await traced(command(mark));
  const lived = new Map(startedOf(stdout).map(({ args, livedMs }) => [JSON.stringify(args), livedMs!]));
  const own = execs.filter(({ args }) => args.some((arg) => arg.startsWith(`${mark}-`)));
  return own.map(({ path, args }) => {
    // What the kernel makes of a script: its interpreter, the file, and all but the name.
    const told = path === script ? ['/bin/sh', script, ...args.slice(1)] : args;
    const livedMs = lived.get(JSON.stringify(told));
    if (livedMs === undefined)
      throw new Error(`strace saw what was not started: ${JSON.stringify(told).slice(0, 200)}`);
    return { args: told, livedMs };
  });
}

async function killedMeanwhile(run: () => Promise<Started[]>): Promise<Started[]> {
  const running = run();
  await sleep(KILL_MS);
  process.kill(await bus.agentPid(), 'SIGKILL');
  return running;
}

async function settled(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); ) {
    before = count();
    await sleep(QUIET_MS);
  }
}
