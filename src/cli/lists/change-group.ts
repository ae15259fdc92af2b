/** `backplane groups delete|reset|set-filter`: what changes a group. */
import type { Command } from 'commander';
import type { Client } from '../../client/client.js';
import { BackplaneError } from '../../errors.js';
import { timestampNs, timestampText } from '../../subscriptions/timestamp.js';
import { messageToJson } from '../../wire/message-json.js';
import type { SetGroupFilterResponse__Output } from '../../wire/messages.js';
import { CLIENT_KEYS, clientOf } from '../connection/credentials.js';
import { inFlagNames } from '../flag-names.js';
import { readTime } from '../local-time.js';
import { Screen } from '../observe/screen.js';
import { safeText } from '../render/text.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { jsonLine, outputOption } from './list.js';

export function defineDeleteGroup(command: Command): void {
  defineChange(command, async (client, group, json) => {
    await client.deleteGroup(group);
    return json ? jsonLine({ group }) : `${safeText(group)} is removed\n`;
  });
}

export function defineResetGroup(command: Command): void {
  command.requiredOption('--to <time>', 'oldest, now, how long ago (5m) or a time (04:00, RFC 3339)');
  defineChange(command, async (client, group, json) => {
    const { to } = command.opts<{ to: string }>();
    const isWord = to === 'oldest' || to === 'now';
    const { since } = await client.resetGroup(
      group,
      isWord ? to : readTime('--to', to, { nowMs: Date.now(), utc: false }),
    );
    if (json) return jsonLine(messageToJson({ group, since }));
    const begins = since && timestampNs(since) > 0n ? `at ${timestampText(since)}` : 'where recordings do';
    return `${safeText(group)} begins ${begins}\n`;
  });
}

export function defineSetFilter(command: Command): void {
  command
    .option('--filter <cel>', 'CEL expression; none: every event', '')
    .option('-t, --topic <topics>', 'topics (comma-separated; default: those of before)')
    .option('--field-mask <fields>', 'fields (comma-separated; default: those of before)');
  defineChange(command, async (client, group, json) => {
    const { filter, topic, fieldMask } = command.opts<{ filter: string; topic?: string; fieldMask?: string }>();
    const request = { group, filter, topics: words('--topic', topic), fields: words('--field-mask', fieldMask) };
    const answer = await client.setGroupFilter(request);
    return json ? jsonLine(messageToJson({ group, ...answer })) : filterText(group, answer);
  });
}

/** From which event of each node on the new filter holds. */
function filterText(group: string, { filter, slices }: SetGroupFilterResponse__Output): string {
  const committed = slices.filter(({ cursor }) => cursor !== '').length;
  const from = `behind what is committed in ${committed} of ${slices.length} slices, else from where the group begins`;
  return `${safeText(group)} has the filter ${safeText(filter)}: ${from}; members must subscribe again\n`;
}

function defineChange(
  command: Command,
  change: (client: Client, group: string, json: boolean) => Promise<string>,
): void {
  command.argument('<group>', 'its name').addOption(outputOption());
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async (group: string) => {
    const client = clientOf(await commandConfig(command, CLIENT_KEYS));
    try {
      // The parent command has the same flag, and takes it wherever it stands.
      const { output } = command.optsWithGlobals<{ output: string }>();
      const screen = new Screen(process.stdout, process.stderr);
      await screen.print(await change(client, group, output === 'json'));
    } catch (thrown) {
      throw inFlagNames(thrown);
    } finally {
      client.close();
    }
  });
}

function words(flag: string, text: string | undefined): string[] {
  if (text === undefined) return [];
  const given = text.split(',').map((word) => word.trim());
  if (given.every((word) => word !== '')) return given;
  throw new BackplaneError('invalid_argument', `${flag} must not be empty: leave it out`);
}
