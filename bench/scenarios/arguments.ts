/**
 * How many execs come with their arguments, as a user's machine starts programs: one at a time on an idle machine, in
 * bursts, back to back, beside busy cores, and by a build. A program that ends before its arguments could be read is
 * told without them (`commandArgsMissed`). As root.
 *
 *   node dist/bench/scenarios/arguments.js [EXECS]
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '../../test/harness/bus/bus.js';
import { report, round } from '../measuring/report.js';

const EXECS = Number(process.argv[2] ?? 1_000);
const BUILD_FILES = 60;

/** Starts `argv` in groups of `argv[2]`, one group every `argv[1]` milliseconds, and waits for each. */
const PACED = `
import subprocess, sys, time
period, at_once, total, mark, program = float(sys.argv[1]) / 1e3, int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:]
due = time.time()
for group in range(0, total, at_once):
    for child in [subprocess.Popen(program + [f"{mark}-{group + i}"], stdout=subprocess.DEVNULL) for i in range(at_once)]:
        child.wait()
    due += period
    time.sleep(max(0, due - time.time()))
`;

const paced = (periodMs: number, atOnce: number, mark: string, ...program: string[]) =>
  execFileSync('python3', ['-c', PACED, ...[periodMs, atOnce, EXECS, mark].map(String), ...program], {
    maxBuffer: 1 << 26,
  });

/** What is started, what its arguments begin with, and how many programs that are. */
interface Case {
  readonly what: string;
  readonly paths: readonly string[];
  readonly run: (mark: string) => void;
}

const CASES: readonly Case[] = [
  { what: '/bin/echo, one every 50 ms', paths: ['/bin/echo'], run: (mark) => paced(50, 1, mark, '/bin/echo') },
  { what: '/bin/echo, eight at once', paths: ['/bin/echo'], run: (mark) => paced(100, 8, mark, '/bin/echo') },
  {
    what: '/bin/echo, back to back',
    paths: ['/bin/echo'],
    run: (mark) =>
      execFileSync('/bin/sh', ['-c', `i=0; while [ $i -lt ${EXECS} ]; do /bin/echo ${mark}-$i; i=$((i+1)); done`], {
        maxBuffer: 1 << 26,
      }),
  },
  {
    what: '/bin/echo, one every 50 ms, each core busy',
    paths: ['/bin/echo'],
    run: (mark) => {
      const busy = cpus().map(() => spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }));
      try {
        paced(50, 1, mark, '/bin/echo');
      } finally {
        for (const each of busy) each.kill('SIGKILL');
      }
    },
  },
  {
    what: 'programs that live 5 ms, back to back',
    paths: ['/bin/sleep'],
    run: () => execFileSync('/bin/sh', ['-c', `i=0; while [ $i -lt ${EXECS} ]; do /bin/sleep 0.005; i=$((i+1)); done`]),
  },
  { what: `a build, ${BUILD_FILES} C files, make -j2`, paths: ['cc1', 'gnu-as', 'gcc'], run: build },
];

const bus = await Bus.start();
try {
  const rows = [];
  for (const { what, paths, run } of CASES) {
    const mark = `mark-${randomBytes(6).toString('hex')}`;
    const filter = paths.map((path) => `process.executable.path.contains("${path}")`).join(' || ');
    const observer = await bus.follow('--filter', `event.type == "process.exec" && (${filter})`);
    run(mark);
    await settled(() => observer.events.length);
    await observer.stop('SIGINT');
    const execs = observer.events.length;
    const caught = observer.events.filter((event) => !event.process!.commandArgsMissed).length;
    rows.push({ what, execs, 'arguments caught': caught, '%': round((100 * caught) / execs), target: 100 });
  }
  report('execs told with their arguments', rows);
} finally {
  await bus.destroy();
}

/** Until nothing new came for two seconds. */
async function settled(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); ) {
    before = count();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  }
}

function build(mark: string): void {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-build-'));
  try {
    const names = Array.from({ length: BUILD_FILES }, (_, index) => `f${index}`);
    for (const name of names)
      writeFileSync(join(dir, `${name}.c`), `#include <stdio.h>\nint ${name}(void){return 1;}\n`);
    writeFileSync(
      join(dir, 'Makefile'),
      `all: ${names.map((name) => `${name}.o`).join(' ')}\n\n%.o: %.c\n\tgcc -D${mark.replaceAll('-', '_')} -O1 -c $< -o $@\n`,
    );
    execFileSync('make', ['-j2', '-s', '-C', dir]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
