/** `backplane nodes forget NODE...`: nodes that are gone for good are no longer listed or stated as absent. */
import type { Command } from 'commander';
import { CLIENT_KEYS, clientOf } from '../connection/credentials.js';
import { Screen } from '../observe/screen.js';
import { safeText } from '../render/text.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';

export function defineForget(command: Command): void {
  command.argument('<node...>', 'names or globs of nodes that are not connected');
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async (nodes: readonly string[]) => {
    const client = clientOf(await commandConfig(command, CLIENT_KEYS));
    try {
      const answer = await client.forgetNodes(nodes);
      const screen = new Screen(process.stdout, process.stderr);
      await screen.print(answer.nodes.map((node) => `${safeText(node)}\n`).join(''));
    } finally {
      client.close();
    }
  });
}
