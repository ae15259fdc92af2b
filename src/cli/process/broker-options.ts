/** Settings as a broker's options. */
import type { Logger } from 'pino';
import type { BrokerOptions } from '../../broker/broker.js';
import { windowOfTopic } from '../../config/id-windows.js';
import type { SettingKey, Settings } from '../../config/settings.js';
import { packageVersion } from '../../package-files.js';

export const BROKER_KEYS: readonly SettingKey[] = [
  'grpc.listen',
  'http.listen',
  'http.origins',
  'insecure',
  'broker.token',
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

function publisherOptions(settings: Settings): NonNullable<BrokerOptions['publishing']> {
  const windows = settings['publish.ids'];
  return {
    rate: {
      bytesPerSecond: settings['publish.bytes'],
      eventsPerSecond: settings['publish.events'],
      burstMs: settings['publish.burst'],
    },
    windowOf: (topic) => windowOfTopic(windows, topic),
    windowMsMax: Math.max(...[...windows.values()].map(({ ageMsMax }) => ageMsMax)),
  };
}
