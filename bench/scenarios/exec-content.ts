/**
 * Whether every program is told with exactly the arguments that it got: a mix of programs whose arguments are made at
 * random, compared one by one with what a live subscriber and history say, with kill -9 of the agent in the middle. As
 * root.
 *
 *   node dist/bench/scenarios/exec-content.js [PROGRAMS]
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, type EventLine } from '../../test/harness/bus/bus.js';
import { report } from '../measuring/report.js';

const PROGRAMS = Number(process.argv[2] ?? 10_000);
/** No new event for so long: there is nothing more to come. */
const QUIET_MS = 5_000;
/** Of what was not told as it was, so many are shown. */
const SHOWN = 6;

/** Prints what each started program must be told with, one JSON list a line: its arguments, as the kernel makes them. */
const MIX = `
import json, os, random, sys
mark, count, script = sys.argv[1] + '-' + sys.argv[4], int(sys.argv[2]), sys.argv[3]
letters = 'abcdefghijklmnopqrstuvwxyz-/. ' + chr(228) + chr(8364)
def text(longest): return ''.join(random.choice(letters) for _ in range(random.randrange(longest)))
environment = {'SECRET': mark[::-1], 'PATH': '/usr/bin:/bin'}
running = []
for number in range(count):
    kind = random.randrange(10)
    rest = [f'{mark}-{number}'] + [text(40) for _ in range(random.choice([0, 1, 3, 10, 30]))]
    if kind == 9: rest += ['x' * random.choice([1000, 4000, 20000])]
    if kind < 6: told = [['/bin/true'] + rest]
    elif kind < 8: told = [[script] + rest]
    else: told = [['/usr/bin/env', '/bin/true'] + rest, ['/bin/true'] + rest]
    running.append(os.posix_spawn(told[0][0], told[0], environment))
    if told[0][0] == script: told = [['/bin/sh', script] + rest]
    for each in told: print(json.dumps(each), flush=True)
    # One at a time, or some at once.
    if random.randrange(3) > 0 or len(running) > 8:
        for pid in running: os.waitpid(pid, 0)
        running = []
for pid in running: os.waitpid(pid, 0)
`;

const mark = randomBytes(8).toString('hex');
const dir = mkdtempSync(join(tmpdir(), 'backplane-content-'));
const script = join(dir, 'script');
writeFileSync(script, '#!/bin/sh\nexit 0\n');
chmodSync(script, 0o755);
const bus = await Bus.start();
try {
  const observer = await bus.follow('--topic', 'process');
  const first = await mix(PROGRAMS / 2, 'before');
  process.kill(await bus.agentPid(), 'SIGKILL');
  const second = await mix(PROGRAMS / 2, 'after');
  await settled(() => observer.events.filter(isOurs).length);
  await observer.stop('SIGINT');
  const history = bus.observe('--topic', 'process', '--since', '1h');
  await history.exited;
  const expected = [...first, ...second];
  report('programs told with the arguments that they got', [
    compared('live', expected, observer.events),
    compared('history', expected, history.events),
  ]);
} finally {
  await bus.destroy();
  rmSync(dir, { recursive: true, force: true });
}

function isOurs({ process }: EventLine): boolean {
  return process?.commandArgs?.some((arg) => arg.startsWith(mark)) === true;
}

/** `when`: before or after the kill. */
async function mix(count: number, when: string): Promise<string[][]> {
  const child = spawn('python3', ['-c', MIX, mark, String(count), script, when], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const told: string[][] = [];
  for await (const line of createInterface({ input: child.stdout })) told.push(JSON.parse(line) as string[]);
  return told;
}

async function settled(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); ) {
    before = count();
    await sleep(QUIET_MS);
  }
}

function compared(where: string, expected: readonly string[][], events: readonly EventLine[]) {
  const told = new Map<string, string[][]>();
  let without = 0;
  let cut = 0;
  for (const { type, process } of events) {
    if (type !== 'process.exec') continue;
    const args = process?.commandArgs ?? [];
    const key = args.find((arg) => arg.startsWith(mark));
    if (key === undefined) without += 1;
    else told.set(key, [...(told.get(key) ?? []), args]);
  }
  let same = 0;
  let different = 0;
  let missing = 0;
  let shown = 0;
  for (const args of expected) {
    const candidates = told.get(args.find((arg) => arg.startsWith(mark))!) ?? [];
    const begins = candidates.filter(([program]) => program === args[0]);
    const whole = begins.findIndex((each) => JSON.stringify(each) === JSON.stringify(args));
    if (whole >= 0) same += 1;
    else if (begins.some((each) => each.every((arg, at) => args[at]?.startsWith(arg)))) cut += 1;
    else if (begins.length > 0) different += 1;
    else missing += 1;
    if (different + missing > shown && shown < SHOWN) {
      console.error(where, JSON.stringify(args).slice(0, 200), 'was told as', JSON.stringify(candidates).slice(0, 200));
      shown += 1;
    }
  }
  return { where, programs: expected.length, same, cut, different, missing, 'others, or without arguments': without };
}
