/** Turns settings into the options of the agents in one process: one agent, or several for synthetic nodes. */
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { JoinToken } from '../../access/join-token.js';
import type { SettingKey, Settings } from '../../config/settings.js';
import type { Config } from '../../config.js';
import { BackplaneError } from '../../errors.js';
import { NAME_BYTES_MAX, SYNTHETIC_LANES_MAX } from '../../limits.js';
import { packageVersion } from '../../package-files.js';
import type { AgentOptions } from '../../sensor-agent/agent-options.js';
import { compileRules } from '../../sensor-agent/redaction/rule.js';
import { type RuntimePlace, runtimePlaces } from '../../sensor-agent/source/containers/runtime-places.js';
import { hasJoined } from '../../sensor-agent/uplink/membership.js';
import { credentialFor } from '../connection/credential-lookup.js';
import { securityFor, TLS_CLIENT_KEYS } from '../connection/tls-settings.js';
import { collectGarbage } from './heap.js';

export const AGENT_KEYS: readonly SettingKey[] = [
  'brokers',
  'zone',
  'token.file',
  ...TLS_CLIENT_KEYS,
  'node.name',
  'data.dir',
  'source',
  'events',
  'agent.profiles',
  'agent.arguments',
  'agent.containers',
  'agent.kubelet.token',
  'agent.kubelet.ca',
  'agent.labels',
  'agent.kubernetesLabels',
  'agent.live.linger',
  'agent.live.lingerMin',
  'agent.guard.cpu',
  'agent.guard.cpuLive',
  'agent.guard.cpuHistory',
  'agent.guard.memory',
  'recorder.bytesMax',
  'recorder.ageMax',
  'buffer.bytesPerCpu',
  'budget.live.bytes',
  'budget.live.events',
  'budget.history.bytes',
  'budget.burst',
  'redaction.rules',
  'redaction.off',
  'synthetic.rate',
  'synthetic.lanes',
  'synthetic.seed',
  'synthetic.mix',
  'synthetic.nodes',
  'log.level',
];

/** `-0001` */
const NODE_SUFFIX_CHARACTERS = 5;

/**
 * The names of the nodes in one agent process: `node.name`, or with synthetic.nodes above 1 that many named after it.
 * @throws BackplaneError invalid_argument: settings that do not go together
 */
export function nodeNames(settings: Settings): readonly string[] {
  const { source, 'node.name': name, 'synthetic.nodes': nodes, 'synthetic.lanes': lanes } = settings;
  if (nodes === 1) return [name];
  const refuse = (message: string) => new BackplaneError('invalid_argument', message);
  if (source !== 'synthetic')
    throw refuse(`synthetic.nodes must be 1 unless source is synthetic, got ${nodes} with source ${source}`);
  const lanesMax = Math.floor(SYNTHETIC_LANES_MAX / nodes);
  if (lanes > lanesMax)
    throw refuse(`synthetic.lanes must be at most ${lanesMax} where synthetic.nodes is ${nodes}, got ${lanes}`);
  const nameMax = NAME_BYTES_MAX - NODE_SUFFIX_CHARACTERS;
  if (name.length > nameMax)
    throw refuse(
      `node.name must be at most ${nameMax} characters where synthetic.nodes is above 1, got ${name.length}`,
    );
  return Array.from({ length: nodes }, (_, index) => `${name}-${String(index + 1).padStart(4, '0')}`);
}

/** What the command line says of joining. */
export interface Joining {
  readonly token: JoinToken | undefined;
  /** File of a service account token; undefined: none. */
  readonly tokenFile: string | undefined;
}

/**
 * Whether the certificate of this node is that of its data directory: it is asked for, or was.
 * @throws BackplaneError invalid_argument for what does not go together
 */
function joining(settings: Settings, { token, tokenFile }: Joining): AgentOptions['joins'] {
  const { 'tls.cert': cert, 'tls.ca': ca, 'synthetic.nodes': nodes, 'data.dir': dir } = settings;
  const refuse = (message: string) => new BackplaneError('invalid_argument', message);
  if (token === undefined && tokenFile === undefined)
    return cert === '' && nodes === 1 && hasJoined(dir) ? {} : undefined;
  if (token && tokenFile) throw refuse('a node joins by --join-token or by --join-token-file: give one');
  if (nodes > 1) throw refuse(`one node joins, and synthetic.nodes is ${nodes}`);
  if (cert !== '') throw refuse('a node that joins has no certificate yet, and tls.cert is set');
  if (tokenFile === undefined) return { token };
  if (ca === '') throw refuse('--join-token-file needs --tls-ca: the token does not say which broker to believe');
  return { serviceAccount: { tokenFile, securityFor: securityFor(settings) } };
}

/** What is made up happens in no container. */
function containerRuntimes(settings: Settings): readonly RuntimePlace[] {
  const { source, 'agent.containers': given, 'agent.kubelet.token': token, 'agent.kubelet.ca': ca } = settings;
  return source === 'synthetic' ? [] : runtimePlaces(given, { token, ca });
}

/**
 * Options for each of nodeNames(). `parent`: set when `up` runs the agent.
 * @throws BackplaneError invalid_argument as nodeNames()
 */
export function agentOptions(
  config: Config,
  parent: AgentOptions['parent'],
  onPresence: (node: string, present: boolean) => void,
  log: Logger,
  given: Joining,
): readonly AgentOptions[] {
  const { settings } = config;
  const credentials = credentialFor(config);
  const security = securityFor(settings);
  const dataDir = settings['data.dir'];
  const names = nodeNames(settings);
  const redaction = compileRules({ rules: settings['redaction.rules'], off: settings['redaction.off'] });
  return names.map((nodeName, index) => ({
    nodeName,
    labels: settings['agent.labels'],
    dataDir: names.length === 1 ? dataDir : join(dataDir, nodeName),
    brokers: settings.brokers,
    zone: settings.zone,
    credentialFor: credentials,
    securityFor: security,
    joins: joining(settings, given),
    recorder: { bytesMax: settings['recorder.bytesMax'], ageMsMax: settings['recorder.ageMax'] },
    redaction,
    live: { lingerMs: settings['agent.live.linger'], lingerMsMin: settings['agent.live.lingerMin'] },
    budget: {
      live: {
        bytesPerSecond: settings['budget.live.bytes'],
        eventsPerSecond: settings['budget.live.events'],
        burstMs: settings['budget.burst'],
      },
      history: { bytesPerSecond: settings['budget.history.bytes'], burstMs: settings['budget.burst'] },
    },
    guard: {
      recordingShare: settings['agent.guard.cpu'] / 100 || Number.POSITIVE_INFINITY,
      liveShare: settings['agent.guard.cpuLive'] / 100,
      historyShare: settings['agent.guard.cpuHistory'] / 100,
      residentBytes: settings['agent.guard.memory'] || Number.POSITIVE_INFINITY,
    },
    collectGarbage,
    source: {
      kind: settings.source,
      events: settings.events,
      profiles: settings['agent.profiles'],
      arguments: settings['agent.arguments'],
      bufferBytesPerCpu: settings['buffer.bytesPerCpu'],
      synthetic: {
        eventsPerSecond: settings['synthetic.rate'],
        lanes: settings['synthetic.lanes'],
        // Seeds are 32 bits.
        seed: (settings['synthetic.seed'] + index) >>> 0,
        mix: settings['synthetic.mix'],
      },
    },
    containers: containerRuntimes(settings),
    parent,
    onPresence: (present) => onPresence(nodeName, present),
    version: packageVersion(),
    log: names.length === 1 ? log : log.child({ node: nodeName }),
  }));
}
