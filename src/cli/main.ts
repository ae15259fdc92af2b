#!/usr/bin/env node
/**
 * The command line's entry point, which loads what is needed before all else is loaded, and nothing beside: it answers
 * `--version`, and starts the agent of `up`, whose process loads its code while this one does. Everything else is done
 * by command-line.ts: in the program that users start, by the copy of it that has the verb (scripts/bundle.js).
 */
import { writeSync } from 'node:fs';
import { packageVersion } from '../package-files.js';
import { wantedVerb } from './wanted-verb.js';

/** Run for long, beside the work of others. */
const SERVERS: ReadonlySet<string | undefined> = new Set(['up', 'broker', 'agent']);

const args = process.argv.slice(2);
if (!saidVersion()) void start();

/** False also where stdout does not take it at once: the command line waits for it, and tells what is wrong with it. */
function saidVersion(): boolean {
  if (args.length !== 1 || (args[0] !== '--version' && args[0] !== '-V')) return false;
  try {
    writeSync(1, `${packageVersion()}\n`);
    return true;
  } catch {
    return false;
  }
}

async function start(): Promise<void> {
  const verb = wantedVerb(args);
  const isHelp = args.some((argument) => ['help', '--help', '-h'].includes(argument));
  const agent = verb === 'up' && !isHelp ? (await import('./process/agent-spawn.js')).spawnAgent() : undefined;
  // Before the code is loaded: V8 takes compiled functions only with the flags that it made them with.
  if (SERVERS.has(verb)) (await import('./process/heap.js')).setUpServer();
  const { runCommand } = await import('./command-line.js');
  await runCommand(args, agent);
}
