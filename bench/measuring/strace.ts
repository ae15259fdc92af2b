/** What strace says of each program that a command starts: a witness of execs that is not ours. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Bytes of a string, and strings of a list, that it prints. */
const SHOWN_MAX = 131_072;
/** `SECONDS execve("PATH", ["ARG", …], 0x… /* n vars *\/) = 0`, each string as `\x2f\x62…`; at last `SECONDS +++ exited …`. */
const EXEC = /^([\d.]+) execve\("([^"]*)", \[(.*)\], .*\) = 0$/;
const SECONDS = /^([\d.]+) /;

export interface TracedExec {
  readonly path: string;
  readonly args: readonly string[];
  /** Until it ended, or started another program. */
  readonly livedMs: number;
}

/** Runs a command to its end and returns what it printed, and the execs that succeeded, of each process in order. */
export async function traced(command: readonly string[]): Promise<{ stdout: string; execs: TracedExec[] }> {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-strace-'));
  // A file for each process: no call is printed in two halves.
  const options = ['-ff', '-xx', '-s', String(SHOWN_MAX), '-e', 'trace=execve', '-e', 'signal=none', '-ttt'];
  try {
    const child = spawn('strace', [...options, '-o', join(dir, 'of'), ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`${command.join(' ').slice(0, 200)} ended with ${code}`);
    const execs = readdirSync(dir).flatMap((name) => execsIn(readFileSync(join(dir, name), 'latin1')));
    return { stdout, execs };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function execsIn(text: string): TracedExec[] {
  const execs: { readonly atMs: number; readonly path: string; readonly args: string[] }[] = [];
  let endMs = 0;
  for (const line of text.split('\n')) {
    const [, seconds, path = '', list = ''] = EXEC.exec(line) ?? [];
    endMs = 1e3 * Number(SECONDS.exec(line)?.[1] ?? endMs / 1e3);
    if (seconds === undefined) continue;
    const args = [...list.matchAll(/"([^"]*)"/g)].map(([, arg = '']) => textOf(arg));
    execs.push({ atMs: 1e3 * Number(seconds), path: textOf(path), args });
  }
  return execs.map(({ atMs, ...exec }, at) => ({ ...exec, livedMs: (execs[at + 1]?.atMs ?? endMs) - atMs }));
}

function textOf(escaped: string): string {
  return Buffer.from(escaped.replaceAll('\\x', ''), 'hex').toString('utf8');
}
