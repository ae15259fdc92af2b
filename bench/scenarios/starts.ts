/**
 * How long commands take to start, in wall time, as multiples of `node -e 0`, in turn.
 *
 *   node dist/bench/scenarios/starts.js [ROUNDS]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '../../test/harness/bus/bus.js';
import { MAIN } from '../../test/harness/bus/command.js';
import { median, report, round } from '../measuring/report.js';

const ROUNDS = Number(process.argv[2] ?? 15);
const AIMS: Record<string, number> = { '--version': 1.5, 'observe --last 1': 4, 'up, until it is ready': 10 };

const bus = await Bus.start();
const dir = mkdtempSync(join(tmpdir(), 'backplane-starts-'));
const times: Record<string, number[]> = {};
try {
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    await timed('node -e 0', ['-e', '0'], {});
    await timed('--version', [MAIN, '--version'], bus.env);
    await timed('observe --last 1', [MAIN, 'observe', '--last', '1', '--all'], bus.env);
    const own = { BACKPLANE_GRPC_LISTEN: '127.0.0.1:0', BACKPLANE_HTTP_LISTEN: '127.0.0.1:0' };
    const data = { BACKPLANE_DATA_DIR: join(dir, String(turn)), BACKPLANE_SOURCE: 'synthetic' };
    await timed('up, until it is ready', [MAIN, 'up'], { ...own, ...data }, /^Next, /m);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
  await bus.destroy();
}

const bare = median(times['node -e 0']!);
report(
  'how long commands take to start',
  Object.entries(times).map(([what, ms]) => ({
    what,
    'median ms': round(median(ms), 0),
    'times node -e 0': round(median(ms) / bare, 1),
    aim: AIMS[what] ?? '',
  })),
);

/** Until it has ended, or has printed `ready`. */
async function timed(what: string, args: readonly string[], env: NodeJS.ProcessEnv, ready?: RegExp): Promise<void> {
  const began = performance.now();
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  let text = '';
  const seen = new Promise<void>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (ready?.test(text)) resolve();
    });
  });
  await Promise.race([ended, seen]);
  times[what] = [...(times[what] ?? []), performance.now() - began];
  child.kill('SIGTERM');
  await ended;
}
