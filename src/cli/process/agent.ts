/**
 * `backplane agent`: runs this node's agent, or those of its synthetic nodes, until a signal. As the child of `up` it
 * tells its parent what it can see, and ends when the parent is gone.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Logger } from 'pino';
import { checkJoinToken } from '../../access/join-token.js';
import type { Settings } from '../../config/settings.js';
import type { Config } from '../../config.js';
import { asBackplaneError } from '../../errors.js';
import { everyOne } from '../../flow/every-step.js';
import { NODE_LABELS_MAX } from '../../limits/containers.js';
import { AGENT_DISK_RETRY_MS } from '../../limits.js';
import { type Agent, startAgent } from '../../sensor-agent/agent.js';
import type { AgentOptions } from '../../sensor-agent/agent-options.js';
import { isDiskFull } from '../../storage/cannot-write.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { AGENT_KEYS, agentOptions, type Joining, nodeNames } from './agent-options.js';
import type { AgentBegin, AgentMessage } from './agent-process.js';
import { AGENT_WAITS } from './agent-spawn.js';
import { watchInterrupt } from './interrupt.js';
import { openLog } from './log.js';

export function define(command: Command): void {
  command.option(
    '--join-token <token>',
    'get a certificate from the broker by a token of "certs join-token", unless there is one (BACKPLANE_JOIN_TOKEN)',
  );
  command.option(
    '--join-token-file <file>',
    'likewise by the service account token that Kubernetes keeps in this file (BACKPLANE_JOIN_TOKEN_FILE)',
  );
  addSettingFlags(command, AGENT_KEYS);
  command.action(async () => {
    if (process.env[AGENT_WAITS] !== undefined) await begun();
    await runAgent(await commandConfig(command, AGENT_KEYS), joining(command));
  });
}

/** Resolves when the parent has said with which settings to begin. Exits when it is gone instead. */
async function begun(): Promise<void> {
  delete process.env[AGENT_WAITS];
  const gone = () => process.exit(0);
  if (!process.connected) gone();
  process.once('disconnect', gone);
  const [{ environment }] = (await once(process, 'message')) as [AgentBegin];
  process.off('disconnect', gone);
  Object.assign(process.env, environment);
}

/** From flags, else from the environment: no settings, as settings are shown. @throws BackplaneError invalid_argument */
function joining(command: Command): Joining {
  const { joinToken, joinTokenFile } = command.opts<{ readonly joinToken?: string; readonly joinTokenFile?: string }>();
  const { BACKPLANE_JOIN_TOKEN: variable, BACKPLANE_JOIN_TOKEN_FILE: file } = process.env;
  const [where, text] = joinToken === undefined ? ['BACKPLANE_JOIN_TOKEN', variable] : ['--join-token', joinToken];
  return { token: text ? checkJoinToken(where, text) : undefined, tokenFile: joinTokenFile ?? (file || undefined) };
}

async function runAgent(config: Config, given: Joining): Promise<void> {
  const { settings } = config;
  const log = openLog(settings, 'agent');
  const interrupt = watchInterrupt();
  // Checked even while the agent starts: an orphan must not go on recording.
  const orphaned = new AbortController();
  const supervised = process.send !== undefined;
  if (supervised) process.once('disconnect', () => orphaned.abort());
  // While the settings were read.
  if (supervised && !process.connected) orphaned.abort();
  const ending = AbortSignal.any([interrupt.signal, orphaned.signal]);
  try {
    const listens = [settings['grpc.listen'], settings['http.listen']];
    const parent = supervised ? { pid: process.ppid, listens } : undefined;
    const presence = new Presence(nodeNames(settings));
    const options = agentOptions(config, parent, (node, present) => presence.heard(node, present), log, given);
    const agents = await startAll(await labelled(options, settings, log), ending);
    try {
      if (!ending.aborted) {
        report(agents, settings, log);
        await once(ending, 'abort');
      }
      log.info(orphaned.signal.aborted ? 'the parent is gone: stopping' : 'stopping');
    } finally {
      await everyOne(agents.map((agent) => agent.stop()));
    }
  } catch (cause) {
    tell({ kind: 'failed', message: asBackplaneError(cause).message });
    throw cause;
  } finally {
    interrupt.release();
  }
}

async function labelled(options: readonly AgentOptions[], settings: Settings, log: Logger) {
  if (settings['agent.kubernetesLabels'] === 'off') return options;
  const { apiOfPod, kubernetesLabels } = await import('../../sensor-agent/kubernetes-labels.js');
  const found = await kubernetesLabels(apiOfPod(process.env), settings['node.name'], (message) => log.warn(message));
  return options.map((one) => ({ ...one, labels: [...(one.labels ?? []), ...found].slice(0, NODE_LABELS_MAX) }));
}

/** Starts one after another, so that the error names the first that cannot start; those before it are then stopped. */
async function startAll(options: readonly AgentOptions[], ending: AbortSignal): Promise<readonly Agent[]> {
  const agents: Agent[] = [];
  try {
    for (const one of options) {
      const agent = await startOne(one, ending);
      if (agent !== undefined) agents.push(agent);
    }
    return agents;
  } catch (cause) {
    await everyOne(agents.map((agent) => agent.stop()));
    throw cause;
  }
}

/**
 * A recording that is yet to begin needs room for its identity. As long as the disk has none this waits, as an agent does
 * whose disk fills up later, and says so once. Resolves with undefined when the agent is to end before.
 */
async function startOne(options: AgentOptions, ending: AbortSignal): Promise<Agent | undefined> {
  for (let isTold = false; !ending.aborted; isTold = true) {
    try {
      return await startAgent(options);
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
      const { message } = asBackplaneError(cause);
      if (!isTold) {
        options.log.error({ reason: 'disk_full' }, `nothing is recorded: ${message}`);
        tell({ kind: 'failed', message });
      }
      await sleep(AGENT_DISK_RETRY_MS, undefined, { signal: ending }).catch(() => undefined);
    }
  }
  return undefined;
}

/** Reports the first agent only: several always share one synthetic source, so its state holds for all. */
function report(agents: readonly Agent[], settings: Settings, log: Logger): void {
  const [agent] = agents;
  if (agent === undefined) return;
  const { source, degraded, events } = agent.status;
  tell({ kind: 'started', source, degraded, events });
  const where = agents.length === 1 ? '' : ` on ${agents.length} nodes`;
  log.info(
    { source, degraded, brokers: settings.brokers },
    `recording ${events.length} trace events from ${source}${where}`,
  );
}

/** Tells the parent when a broker has all nodes of this process, and when it no longer has. */
class Presence {
  readonly #absent: Set<string>;

  constructor(nodes: readonly string[]) {
    this.#absent = new Set(nodes);
  }

  heard(node: string, present: boolean): void {
    const before = this.#absent.size === 0;
    if (present) this.#absent.delete(node);
    else this.#absent.add(node);
    const all = this.#absent.size === 0;
    if (all !== before) tell({ kind: all ? 'present' : 'absent' });
  }
}

function tell(message: AgentMessage): void {
  // The parent may exit at any time; the 'disconnect' event reports that.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
