#!/usr/bin/env node
/**
 * The command line's entry point: finds the verb, loads only its file, and
 * turns what goes wrong into one line on stderr and an exit code: 0 done,
 * 1 failed, 2 wrong usage, 4 incomplete (observe), 130 interrupted.
 */
import { openSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { builtFile, packageVersion } from '../package-files.js';
import { asTyped } from './command-name.js';
import { addExamples } from './examples.js';
import { watchOutput } from './standard-output.js';

/** What a verb's file exports as `define`: its flags, arguments and action. */
type Define = (command: Command) => void;

interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<{ readonly define: Define }>;
}

const VERBS: readonly Verb[] = [
  { name: 'up', summary: "run a broker and this node's agent", load: () => import('./process/up.js') },
  { name: 'broker', summary: 'run a broker', load: () => import('./process/broker.js') },
  { name: 'agent', summary: "run this node's agent", load: () => import('./process/agent.js') },
  { name: 'observe', summary: 'show events, from the past and live', load: () => import('./observe/observe.js') },
  { name: 'nodes', summary: 'list the nodes and what they record', load: () => import('./lists/nodes.js') },
  { name: 'topics', summary: 'list the topics and their event types', load: () => import('./lists/topics.js') },
  { name: 'subscriptions', summary: 'list who is subscribed to what', load: () => import('./lists/subscriptions.js') },
  { name: 'status', summary: 'show the state of a broker', load: () => import('./lists/status.js') },
  {
    name: 'doctor',
    summary: 'try what this node can record, and say what is missing',
    load: () => import('./doctor.js'),
  },
  {
    name: 'config',
    summary: 'print the configuration in force and where it comes from',
    load: () => import('./config.js'),
  },
  {
    name: 'decode',
    summary: 'print a capture of raw trace pages as JSON lines',
    load: () => import('./decode-capture.js'),
  },
  {
    name: 'completion',
    summary: 'print a script that completes commands in a shell',
    load: () => import('./completion/completion.js'),
  },
];

// gRPC also prints its failures on stderr, which the command line prints itself. Read when gRPC is loaded.
process.env.GRPC_VERBOSITY ??= 'NONE';

// Held open while this runs, so that a build does not remove the program in use (scripts/build.js), and `up` can
// restart its agent from the same one.
openSync(builtFile(), 'r');

const output = watchOutput(process.stdout, process.stderr);
const exitCode = await main(process.argv.slice(2));
const lost = await output.end();
process.exit(lost === undefined || isFailure(exitCode) ? exitCode : complain(lost, 1));

/** Exit codes for which an error was already printed. */
function isFailure(code: number): boolean {
  return code === 1 || code === 2;
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const program = await buildProgram(args);
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

async function buildProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('backplane');
  program
    .description(
      'A messaging backplane for kernel telemetry: nodes record, subscribers ask, what was asked for travels.',
    )
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError(false)
    .exitOverride()
    // Commander's complaint is reported with every other error, once.
    .configureOutput({ outputError: () => {} });
  const wanted = args.find((argument) => argument !== 'help' && !argument.startsWith('-'));
  for (const verb of VERBS) {
    const command = program.command(verb.name).description(verb.summary);
    command.exitOverride().configureOutput({ outputError: () => {} });
    if (verb.name !== wanted && wanted !== 'completion') continue;
    (await verb.load()).define(command);
    addExamples(command);
  }
  return program;
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
