/** Runs the compiled command line as a user does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { until } from '../until.js';

export const MAIN = fileURLToPath(new URL('../../../program/main.js', import.meta.url));

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
  let ended = false;
  const running: Running = {
    child,
    out: '',
    err: '',
    done: new Promise((resolve) => {
      child.on('close', (code) => {
        ended = true;
        resolve({ code, out: running.out, err: running.err });
      });
    }),
    printed: async (pattern) => {
      await until(
        `${pattern} on stdout`,
        () => {
          if (pattern.test(running.out)) return true;
          if (ended) throw new Error(`ended before ${pattern}: ${running.out}${running.err}`);
          return false;
        },
        () => `${running.out}${running.err}`,
      );
    },
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    running.out += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    running.err += text;
  });
  return running;
}

export function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return command(args, environment).done;
}
