/** `backplane certs join-token NODE...`: a token by which one node gets its first certificate from the broker. */
import type { Command } from 'commander';
import { createJoinToken } from '../../client/create-join-token.js';
import { timestampNs } from '../../subscriptions/timestamp.js';
import { credentialFor } from '../connection/credential-lookup.js';
import { CLIENT_KEYS } from '../connection/credentials.js';
import { securityFor } from '../connection/tls-settings.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';

export function defineJoinToken(command: Command): void {
  command.argument('<node...>', 'names or globs, one of which the node must match');
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async (nodes: readonly string[]) => {
    const config = await commandConfig(command, CLIENT_KEYS);
    const { brokers, zone } = config.settings;
    const answer = await createJoinToken(brokers, credentialFor(config), securityFor(config.settings), nodes, zone);
    const until = answer.expires && new Date(Number(timestampNs(answer.expires) / 1_000_000n)).toISOString();
    process.stderr.write(`For one node, once, until ${until}: backplane agent --broker HOST:PORT --join-token TOKEN\n`);
    process.stdout.write(`${answer.token}\n`);
  });
}
