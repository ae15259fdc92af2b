/** Settings as an agent's options. */
import type { Logger } from 'pino';
import type { SettingKey, Settings } from '../config/settings.js';
import type { AgentOptions } from '../sensor-agent/agent.js';
import { packageVersion } from './version.js';

export const AGENT_KEYS: readonly SettingKey[] = [
  'brokers',
  'node.name',
  'data.dir',
  'source',
  'events',
  'recorder.bytesMax',
  'recorder.ageMax',
  'buffer.bytesPerCpu',
  'synthetic.rate',
  'synthetic.lanes',
  'synthetic.seed',
  'log.level',
];

/** `selfPids`: processes of this Backplane besides the agent's own. */
export function agentOptions(settings: Settings, selfPids: readonly number[], log: Logger): AgentOptions {
  return {
    nodeName: settings['node.name'],
    dataDir: settings['data.dir'],
    brokers: settings.brokers,
    recorder: { bytesMax: settings['recorder.bytesMax'], ageMsMax: settings['recorder.ageMax'] },
    source: {
      kind: settings.source,
      events: settings.events,
      bufferBytesPerCpu: settings['buffer.bytesPerCpu'],
      synthetic: {
        eventsPerSecond: settings['synthetic.rate'],
        lanes: settings['synthetic.lanes'],
        seed: settings['synthetic.seed'],
      },
    },
    selfPids,
    version: packageVersion(),
    log,
  };
}
