/**
 * Whether programs come with exactly the arguments that they got, as a user's machine starts them: one at a time on an
 * idle machine and beside busy cores, in bursts, as fast as two loops can, and by a build that strace witnesses. Their
 * arguments are those of that build, 0 to 17 KB; one in ten lives for 30 ms, the others end at once. Then static
 * programs, and the first programs of new container roots. Somebody listens; the account is from history. As root;
 * needs gcc, make, perl and strace, and for some rows busybox-static and musl-tools.
 *
 *   node dist/bench/scenarios/arguments.js [EXECS] [ROOTS]
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, type EventLine } from '../../test/harness/bus/bus.js';
import { containerPrograms, type Kind, overlayPrograms, staticPrograms } from '../measuring/container-roots.js';
import { account } from '../measuring/exec-account.js';
import { recordedBuild } from '../measuring/recorded-build.js';
import { report, round } from '../measuring/report.js';
import { type Pace, startAll } from '../measuring/starter.js';

const EXECS = Number(process.argv[2] ?? 1_000);
const ROOTS = Number(process.argv[3] ?? 50);
/** One in so many lives for 30 ms, but where it is about the rate. */
const LIVES_EVERY = 10;
const LIVES = ['/usr/bin/perl', '-e', 'select(undef, undef, undef, 0.03)'];
const SETTLED_MS = 3_000;

const PACES: readonly (Pace & { readonly what: string; readonly starters: number; readonly busyLoops: number })[] = [
  { what: 'one every 50 ms, idle', periodMs: 50, atOnce: 1, starters: 1, busyLoops: 0 },
  { what: 'one every 50 ms, each core busy', periodMs: 50, atOnce: 1, starters: 1, busyLoops: cpus().length },
  { what: 'eight at once, back to back', periodMs: 0, atOnce: 8, starters: 1, busyLoops: 0 },
  { what: 'two loops, back to back', periodMs: 0, atOnce: 1, starters: 2, busyLoops: 0 },
];

const bus = await Bus.start();
try {
  const build = await observed(recordedBuild);
  const ours = build.result.filter(({ args }) => args.some((arg) => arg.includes(build.mark)));
  report('programs of a build, make -j2, told as strace has it', [account(build.mark, ours, build.events)]);

  const lists = build.result.map(({ args }) => args.slice(1));
  const rows = [];
  for (const { what, starters, busyLoops, ...pace } of PACES) {
    const loops = Array.from({ length: busyLoops }, () => spawn('/bin/sh', ['-c', 'while :; do :; done']));
    try {
      const { mark, result, events } = await observed((mark) =>
        Promise.all(Array.from({ length: starters }, (_, at) => startAll(commandsOf(`${mark}-${at}`, starters), pace))),
      );
      const perSecond = result.reduce((sum, each) => sum + each.perSecond, 0);
      const started = result.flatMap((each) => each.started);
      rows.push({ what, 'execs/s': round(perSecond, 0), ...account(mark, started, events) });
      console.table(rows.slice(-1));
    } finally {
      for (const loop of loops) loop.kill('SIGKILL');
    }
  }
  report('execs told with their arguments', rows, { lists: lists.length });

  function commandsOf(mark: string, starters: number): string[][] {
    return Array.from({ length: EXECS / starters }, (_, at) => {
      const program = starters === 1 && at % LIVES_EVERY === 0 ? LIVES : ['/bin/true'];
      return [...program, `${mark}-${at}`, ...lists[at % lists.length]!];
    });
  }

  await reportByTurn('static programs', staticPrograms(ROOTS));
  await reportByTurn(`the first programs of ${ROOTS} new roots`, [
    ...overlayPrograms(ROOTS),
    ...containerPrograms(ROOTS),
  ]);
} finally {
  await bus.destroy();
}

/** Runs `start` while somebody listens, and returns what history says of programs with an argument that has the mark. */
async function observed<Result>(start: (mark: string) => Promise<Result>) {
  const mark = `mark_${randomBytes(6).toString('hex')}`;
  const filter = `event.type == "process.exec" && process.command_args.exists(a, a.contains("${mark}"))`;
  const observer = await bus.follow('--filter', filter);
  const result = await start(mark);
  // What comes last is read some time later.
  await sleep(SETTLED_MS);
  await observer.stop('SIGINT');
  const history = bus.observe('--since', '1h', '--filter', filter);
  if ((await history.exited) !== 0) throw new Error(history.stderr);
  return { mark, result, events: history.events as readonly EventLine[] };
}

async function reportByTurn(title: string, kinds: readonly Kind[]): Promise<void> {
  const rows = [];
  for (const { what, start } of kinds) {
    const { mark, result, events } = await observed(start);
    for (const turn of new Set(result.map((one) => one.turn))) {
      const started = result.filter((one) => one.turn === turn);
      rows.push({ what, exec: turn, ...account(mark, started, events) });
    }
  }
  report(title, rows);
}
