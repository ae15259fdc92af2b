/** Settings as a broker's options. */
import type { Logger } from 'pino';
import type { BrokerOptions } from '../broker/broker.js';
import type { SettingKey, Settings } from '../config/settings.js';
import { packageVersion } from './version.js';

export const BROKER_KEYS: readonly SettingKey[] = [
  'grpc.listen',
  'http.listen',
  'insecure',
  'data.dir',
  'log.bytesMax',
  'log.ageMax',
  'log.fsync',
  'budget.ceiling',
  'log.level',
];

export function brokerOptions(settings: Settings, log: Logger): BrokerOptions {
  return {
    dataDir: settings['data.dir'],
    grpcListen: settings['grpc.listen'],
    httpListen: settings['http.listen'],
    insecure: settings.insecure,
    log: {
      bytesMax: settings['log.bytesMax'],
      ageMsMax: settings['log.ageMax'],
      fsync: settings['log.fsync'],
    },
    ceilingBytesPerSecond: settings['budget.ceiling'] || undefined,
    version: packageVersion(),
    logger: log,
  };
}
