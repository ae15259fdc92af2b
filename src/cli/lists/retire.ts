/** `backplane retire`: a broker sends its agents and subscribers to other brokers, some at a time, before it is stopped. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Client } from '../../client/client.js';
import { BackplaneError, invalid } from '../../errors.js';
import { RETIRE_LOOK_MS, RETIRE_MS_MAX } from '../../limits.js';
import { CLIENT_KEYS, clientOf } from '../connection/credentials.js';
import { Screen } from '../observe/screen.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';

export function define(command: Command): void {
  command.option('--force', 'also where no other broker of its cluster is known: what is connected waits until one is');
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async () => {
    const config = await commandConfig(command, CLIENT_KEYS);
    const { brokers } = config.settings;
    if (brokers.length > 1) throw invalid('--broker', `must name the one broker to retire, got ${brokers.length}`);
    const client = clientOf(config);
    try {
      await retire(client, command.opts<{ force?: true }>().force === true);
    } finally {
      client.close();
    }
  });
}

async function retire(client: Client, force: boolean): Promise<void> {
  const screen = new Screen(process.stdout, process.stderr);
  const { agents, subscribers, withinMs } = await client.retire(force);
  screen.notice(`agents: ${agents}, subscribers: ${subscribers}; all go to other brokers within ${withinMs} ms`);
  for (let waitedMs = 0; waitedMs <= RETIRE_MS_MAX + withinMs; waitedMs += RETIRE_LOOK_MS) {
    const { nodes, subscriptions, brokers } = await client.getStatus();
    // A broker of a cluster counts the nodes of all of them.
    const left = brokers.find(({ own }) => own)?.nodes ?? nodes;
    if (left === 0 && subscriptions === 0) {
      await screen.print('retired: nothing is connected any more, and the broker can be stopped\n');
      return;
    }
    await sleep(RETIRE_LOOK_MS);
  }
  throw new BackplaneError('unavailable', 'the broker is retired, and something is still connected: see status');
}
