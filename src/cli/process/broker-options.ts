/** Settings as a broker's options. */
import type { Logger } from 'pino';
import type { BrokerOptions } from '../../broker/broker.js';
import type { SettingKey, Settings } from '../../config/settings.js';
import { packageVersion } from '../../package-files.js';

export const BROKER_KEYS: readonly SettingKey[] = [
  'grpc.listen',
  'http.listen',
  'http.origins',
  'insecure',
  'broker.token',
  'roles',
  'tokens',
  'data.dir',
  'log.bytesMax',
  'log.ageMax',
  'log.fsync',
  'budget.ceiling',
  'log.level',
];

/** Printed at each start without a token. */
export const OPEN_TO_ALL =
  'No token is wanted (--no-token): everybody who can connect may read all events and change budgets';

export function brokerOptions(settings: Settings, log: Logger): BrokerOptions {
  return {
    dataDir: settings['data.dir'],
    grpcListen: settings['grpc.listen'],
    httpListen: settings['http.listen'],
    httpOrigins: settings['http.origins'],
    insecure: settings.insecure,
    token: settings['broker.token'],
    access: { rolesFile: settings.roles, tokensFile: settings.tokens },
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
