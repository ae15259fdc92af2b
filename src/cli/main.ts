#!/usr/bin/env node
/**
 * The command line's entry point. It answers `--version` itself, for which nothing else need be loaded, and leaves all
 * else to command-line.ts: in the program that users start, to the copy of it that has the verb (scripts/bundle.js).
 */
import { writeSync } from 'node:fs';
import { packageVersion } from '../package-files.js';
import { boundHeap } from './process/heap.js';
import { wantedVerb } from './wanted-verb.js';

/** Run for long, beside the work of others. */
const SERVERS: ReadonlySet<string | undefined> = new Set(['up', 'broker', 'agent']);

const args = process.argv.slice(2);
if (!saidVersion()) {
  // Before the code is loaded: V8 takes compiled functions only with the flags that it made them with.
  if (SERVERS.has(wantedVerb(args))) boundHeap();
  void import('./command-line.js').then(({ runCommand }) => runCommand(args));
}

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
