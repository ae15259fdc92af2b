/** Runs the compiled command line as a user does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly done: Promise<Outcome>;
  out: string;
  err: string;
  /** Resolves when stdout matches; rejects when the command ends before. */
  printed(pattern: RegExp): Promise<void>;
}

/** Nothing of the tester's own environment reaches the command. */
export function command(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Running {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, TZ: 'UTC', ...environment };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const waiting: { pattern: RegExp; resolve: () => void; reject: (cause: Error) => void }[] = [];
  const running: Running = {
    child,
    out: '',
    err: '',
    done: new Promise((resolve) => {
      child.on('close', (code) => {
        for (const { pattern, reject } of waiting)
          reject(new Error(`ended before ${pattern}: ${running.out}${running.err}`));
        resolve({ code, out: running.out, err: running.err });
      });
    }),
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        waiting.push({ pattern, resolve, reject });
        look();
      }),
  };
  const look = () => {
    for (const { pattern, resolve } of waiting) if (pattern.test(running.out)) resolve();
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    running.out += text;
    look();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    running.err += text;
  });
  return running;
}

export function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return command(args, environment).done;
}
