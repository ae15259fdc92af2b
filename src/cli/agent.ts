/**
 * `backplane agent`: this node's agent, until a signal. As the child of `up`
 * it tells its parent what it can see, and ends when the parent is gone.
 */
import { once } from 'node:events';
import type { Command } from 'commander';
import type { Config } from '../config.js';
import { asBackplaneError } from '../errors.js';
import { startAgent } from '../sensor-agent/agent.js';
import { AGENT_KEYS, agentOptions } from './agent-options.js';
import type { AgentMessage } from './agent-process.js';
import { watchInterrupt } from './interrupt.js';
import { openLog } from './log.js';
import { addSettingFlags, commandConfig } from './setting-flags.js';

export function define(command: Command): void {
  addSettingFlags(command, AGENT_KEYS);
  command.action(() => runAgent(commandConfig(command, AGENT_KEYS)));
}

async function runAgent({ settings }: Config): Promise<void> {
  const log = openLog(settings, 'agent');
  const interrupt = watchInterrupt();
  // Noticed even while the agent starts: an orphan must not go on recording.
  const orphaned = new AbortController();
  const supervised = process.send !== undefined;
  if (supervised) process.once('disconnect', () => orphaned.abort());
  const ending = AbortSignal.any([interrupt.signal, orphaned.signal]);
  try {
    const agent = await startAgent(agentOptions(settings, supervised ? [process.ppid] : [], log));
    try {
      const { source, degraded, events } = agent.status;
      tell({ kind: 'started', source, degraded, events });
      log.info(
        { source, degraded, brokers: settings.brokers },
        `recording ${events.length} trace events from ${source}`,
      );
      if (!ending.aborted) await once(ending, 'abort');
      log.info(orphaned.signal.aborted ? 'the parent is gone: stopping' : 'stopping');
    } finally {
      await agent.stop();
    }
  } catch (cause) {
    tell({ kind: 'failed', message: asBackplaneError(cause).message });
    throw cause;
  } finally {
    interrupt.release();
  }
}

function tell(message: AgentMessage): void {
  // The parent may go at any time; 'disconnect' says so.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
