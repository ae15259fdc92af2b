/** Settings as a broker's options. */
import type { Logger } from 'pino';
import type { BrokerOptions } from '../../broker/broker.js';
import type { SettingKey, Settings } from '../../config/settings.js';
import { invalid } from '../../errors.js';
import { packageVersion } from '../../package-files.js';

export const BROKER_KEYS: readonly SettingKey[] = [
  'grpc.listen',
  'http.listen',
  'http.origins',
  'insecure',
  'broker.token',
  'roles',
  'tokens',
  'jwt.keys',
  'jwt.issuer',
  'jwt.audience',
  'jwt.identity',
  'jwt.groups',
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
    access: { rolesFile: settings.roles, tokensFile: settings.tokens, webTokens: webTokensOf(settings) },
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

/** Undefined where no keys are named. Throws invalid_argument for keys without who issues tokens, and for whom. */
function webTokensOf(settings: Settings): NonNullable<BrokerOptions['access']>['webTokens'] {
  const [keys, issuer, audience] = [settings['jwt.keys'], settings['jwt.issuer'], settings['jwt.audience']];
  if (keys === '') return undefined;
  for (const key of ['jwt.issuer', 'jwt.audience'] as const) {
    if (settings[key] === '') throw invalid(key, 'must be given with jwt.keys: else tokens for others would be taken');
  }
  return { keys, issuer, audience, identityClaim: settings['jwt.identity'], groupsClaim: settings['jwt.groups'] };
}
