/** `backplane decode DIRECTORY`: a capture of raw trace pages as JSON lines. */
import type { Command } from 'commander';
import { decode } from './decode.js';

export function define(command: Command): void {
  command.argument('<directory>', 'a capture: cpuN.pages.gz beside its event formats').action(async (dir: string) => {
    await decode(dir, process.stdout, process.stderr);
  });
}
