/** Settings as a broker's options. */
import type { Logger } from 'pino';
import { isLoopbackAddress } from '../../broker/access/listen.js';
import type { Broker } from '../../broker/broker.js';
import type { BrokerOptions, NatsLogOptions } from '../../broker/options.js';
import { idWindows, windowOfTopic } from '../../config/id-windows.js';
import type { SettingKey, Settings } from '../../config/settings.js';
import { invalid } from '../../errors.js';
import { packageVersion } from '../../package-files.js';
import { clusterOf, natsOptions } from '../connection/nats.js';
import { checkTogether } from '../connection/tls-settings.js';

export const BROKER_KEYS: readonly SettingKey[] = [
  'grpc.listen',
  'http.listen',
  'http.origins',
  'tls.cert',
  'tls.key',
  'tls.clientCa',
  'tls.caKey',
  'tls.nodeLifetime',
  'join.keys',
  'join.serviceAccount',
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
  'app.log.bytesMax',
  'app.log.ageMax',
  'alert.log.bytesMax',
  'alert.log.ageMax',
  'audit.log.bytesMax',
  'audit.log.ageMax',
  'publish.bytes',
  'publish.events',
  'publish.burst',
  'publish.ids',
  'budget.ceiling',
  'group.member.timeout',
  'group.commit.timeout',
  'group.revoke.timeout',
  'group.interest.ageMax',
  'group.cursors.ageMax',
  'log.level',
];

/** Printed at each start without a token. */
const OPEN_TO_ALL = 'No token is wanted (--no-token): everybody who can connect may read all events and change budgets';

/** Printed at each start without TLS where others can connect. */
const IN_THE_CLEAR = 'Nothing is encrypted (--insecure): whoever is on the way reads events and tokens';

/** What a broker says at its start that may not be as expected: a line each. */
export function warnings(settings: Settings, broker: Broker): readonly string[] {
  const tls = settings['tls.cert'] !== '';
  const addresses = [settings['grpc.listen'], settings['http.listen']];
  const clear = !tls && addresses.some((address) => !isLoopbackAddress(address));
  return [...(broker.tokenFile === undefined ? [OPEN_TO_ALL] : []), ...(clear ? [IN_THE_CLEAR] : [])];
}

export function httpScheme(settings: Settings): 'http' | 'https' {
  return settings['tls.cert'] === '' ? 'http' : 'https';
}

export function brokerOptions(settings: Settings, log: Logger): BrokerOptions {
  return {
    dataDir: settings['data.dir'],
    grpcListen: settings['grpc.listen'],
    httpListen: settings['http.listen'],
    httpOrigins: settings['http.origins'],
    tls: tlsFiles(settings),
    insecure: settings.insecure,
    token: settings['broker.token'],
    access: { rolesFile: settings.roles, tokensFile: settings.tokens, webTokens: webTokensOf(settings) },
    log: {
      bytesMax: settings['log.bytesMax'],
      ageMsMax: settings['log.ageMax'],
      fsync: settings['log.fsync'],
    },
    documents: {
      app: { bytesMax: settings['app.log.bytesMax'], ageMsMax: settings['app.log.ageMax'] },
      alert: { bytesMax: settings['alert.log.bytesMax'], ageMsMax: settings['alert.log.ageMax'] },
      audit: { bytesMax: settings['audit.log.bytesMax'], ageMsMax: settings['audit.log.ageMax'] },
    },
    publishing: publisherOptions(settings),
    ceilingBytesPerSecond: settings['budget.ceiling'] || undefined,
    groups: {
      memberMs: settings['group.member.timeout'],
      commitMs: settings['group.commit.timeout'],
      revokeMs: settings['group.revoke.timeout'],
      interestMs: settings['group.interest.ageMax'],
      cursorsMs: settings['group.cursors.ageMax'],
    },
    version: packageVersion(),
    logger: log,
  };
}

/** Where the log is, if NATS keeps it. Throws invalid_argument for settings that do not go together. */
export function natsLogOptions(settings: Settings, onLost: NatsLogOptions['onLost']): NatsLogOptions | undefined {
  if (settings['nats.servers'].length === 0 && settings['nats.cluster'] === '') return undefined;
  return { ...natsOptions(settings), cluster: clusterOf(settings), monitors: settings['nats.monitor'], onLost };
}

function publisherOptions(settings: Settings): NonNullable<BrokerOptions['publishing']> {
  const windows = idWindows(settings['publish.ids']);
  return {
    rate: {
      bytesPerSecond: settings['publish.bytes'],
      eventsPerSecond: settings['publish.events'],
      burstMs: settings['publish.burst'],
    },
    windowOf: (topic) => windowOfTopic(windows, topic),
    windowMsMax: {
      app: Math.max(...[...windows].filter(([topic]) => topic !== 'alert').map(([, { ageMsMax }]) => ageMsMax)),
      alert: windowOfTopic(windows, 'alert').ageMsMax,
    },
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

/** Undefined without TLS. @throws BackplaneError invalid_argument for settings of which one lacks another */
function tlsFiles(settings: Settings): BrokerOptions['tls'] {
  const { 'tls.cert': cert, 'tls.key': key, 'tls.clientCa': clientCa } = settings;
  checkTogether(settings, 'tls.cert', 'tls.key');
  checkTogether(settings, 'tls.key', 'tls.cert');
  checkTogether(settings, 'tls.clientCa', 'tls.cert');
  checkTogether(settings, 'tls.caKey', 'tls.clientCa');
  if (cert === '') return undefined;
  checkTogether(settings, 'join.keys', 'tls.caKey');
  checkTogether(settings, 'join.keys', 'join.serviceAccount');
  const { 'tls.caKey': caKey, 'tls.nodeLifetime': validMs } = settings;
  const { 'join.keys': keys, 'join.serviceAccount': account } = settings;
  const serviceAccounts = keys === '' ? undefined : { keys, account };
  const signs = caKey === '' ? undefined : { key: caKey, validMs, serviceAccounts };
  return { cert, key, clientCa: clientCa === '' ? undefined : clientCa, signs };
}
