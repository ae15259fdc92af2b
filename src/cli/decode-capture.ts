/** `backplane decode DIRECTORY`: a capture of raw trace pages as JSON lines. */
import type { Command } from 'commander';
import { decode } from './decode.js';

export function define(command: Command): void {
  command.argument('<directory>', 'a capture: cpuN.pages.gz beside its event formats').action(async (dir: string) => {
    // A reader that has gone (`| head`) is not an error: decode sees that the stream is destroyed.
    process.stdout.on('error', () => {});
    await decode(dir, process.stdout, process.stderr);
  });
}
