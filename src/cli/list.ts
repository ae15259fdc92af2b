/** What nodes, topics, subscriptions and status share: ask a broker once, print a table or JSON. */
import { type Command, Option } from 'commander';
import type { Client } from '../subscriptions/client.js';
import { messageToJson } from '../wire/message-json.js';
import { CLIENT_KEYS, clientOf } from './credentials.js';
import { Screen } from './screen.js';
import { addSettingFlags, commandConfig } from './setting-flags.js';

export interface List<Answer extends object> {
  readonly ask: (client: Client) => Promise<Answer>;
  /** The answer for people: lines of safe text. */
  readonly text: (answer: Answer, nowNs: bigint) => string;
  /** The answer's items, one JSON line each; undefined: the answer itself is the one line. */
  readonly items?: (answer: Answer) => readonly object[];
}

export function defineList<Answer extends object>(command: Command, list: List<Answer>): void {
  command.addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'));
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async () => {
    const client = clientOf(commandConfig(command, CLIENT_KEYS));
    try {
      const answer = await list.ask(client);
      const screen = new Screen(process.stdout, process.stderr);
      const json = command.opts<{ output: string }>().output === 'json';
      await screen.print(json ? jsonLines(list, answer) : list.text(answer, BigInt(Date.now()) * 1_000_000n));
    } finally {
      client.close();
    }
  });
}

function jsonLines<Answer extends object>(list: List<Answer>, answer: Answer): string {
  const items = list.items?.(answer) ?? [answer];
  return items.map((item) => `${JSON.stringify(messageToJson(item))}\n`).join('');
}
