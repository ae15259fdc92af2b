/**
 * The command line: finds the verb, loads only its file, and turns what goes
 * wrong into one line on stderr and an exit code: 0 done, 1 failed, 2 wrong
 * usage, 4 incomplete (observe), 130 interrupted.
 */
import type { ChildProcess } from 'node:child_process';
import { openSync } from 'node:fs';
import { CommanderError } from 'commander';
import { builtFile } from '../package-files.js';
import { asTyped } from './command-name.js';
import { INTERRUPTED } from './process/interrupt.js';
import { watchOutput } from './standard-output.js';
import { commandLine, type Verb } from './verbs.js';
import { wantedVerb } from './wanted-verb.js';

const COMPLETION: Verb = {
  name: 'completion',
  summary: 'print a script that completes commands in a shell',
  load: () => import('./completion/completion.js'),
};

// gRPC also prints its failures on stderr, which the command line prints itself. Read when gRPC is loaded.
process.env.GRPC_VERBOSITY ??= 'NONE';

// Held open while this runs, so that a build does not remove the program in use (scripts/build.js), and `up` can
// restart its agent from the same one.
openSync(builtFile(), 'r');

/**
 * Runs a command, and ends the process with its exit code.
 * @param agent the process of an agent that waits to be told how to begin, for `up`; it ends when this process does
 */
export async function runCommand(args: readonly string[], agent?: ChildProcess): Promise<never> {
  const output = watchOutput(process.stdout, process.stderr);
  const exitCode = await run(args, agent);
  // Of a command that was refused: nobody has told it to begin.
  agent?.kill('SIGKILL');
  const lost = await output.end(exitCode === INTERRUPTED);
  process.exit(lost === undefined || isFailure(exitCode) ? exitCode : complain(lost, 1));
}

/** Exit codes for which an error was already printed. */
function isFailure(code: number): boolean {
  return code === 1 || code === 2;
}

async function run(args: readonly string[], agent: ChildProcess | undefined): Promise<number> {
  try {
    const program = await commandLine(wantedVerb(args), COMPLETION, agent);
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return 2;
    }
    await program.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (thrown) {
    return report(thrown);
  }
}

function report(thrown: unknown): number {
  if (thrown instanceof CommanderError) {
    // --help and --version also arrive as thrown errors, but with exit code 0.
    if (thrown.exitCode === 0) return 0;
    return complain(thrown.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' '), 2);
  }
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  // Recognised by its shape, because importing the class would load gRPC for `--help`.
  const exitCode = 'exitCode' in error && typeof error.exitCode === 'number' ? error.exitCode : undefined;
  if (exitCode === undefined && process.env.BACKPLANE_LOG_LEVEL === 'debug') console.error(error.stack);
  return complain(exitCode === undefined ? `unexpected: ${error.message}` : error.message, exitCode ?? 1);
}

function complain(message: string, exitCode: number): number {
  process.stderr.write(`backplane: ${asTyped(message).replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ')}\n`);
  return exitCode;
}
