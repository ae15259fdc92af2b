/** The settings of TLS, as far as one means nothing without another. */
import { type ClientTlsFiles, inTheClear, type SecurityFor, securedBy } from '../../access/secure-channel.js';
import { flagName, type Settings } from '../../config/settings.js';
import { BackplaneError } from '../../errors.js';

/** What every side that connects to a broker may be given. */
export const TLS_CLIENT_KEYS = ['tls.ca', 'tls.cert', 'tls.key'] as const;

type TlsKey =
  | 'tls.ca'
  | 'tls.cert'
  | 'tls.key'
  | 'tls.clientCa'
  | 'tls.caKey'
  | 'join.keys'
  | 'join.serviceAccount'
  | 'nats.cert'
  | 'nats.key';

/** @throws BackplaneError invalid_argument where `key` is set and `other` is not */
export function checkTogether(settings: Settings, key: TlsKey, other: TlsKey): void {
  if (settings[key] === '' || settings[other] !== '') return;
  throw new BackplaneError('invalid_argument', `${key} is set, and needs ${other} (${flagName(other)}) beside it`, {
    field: other,
  });
}

/** How this side connects to brokers. @throws BackplaneError invalid_argument for settings that do not go together */
export function securityFor(settings: Settings): SecurityFor {
  const files = clientTlsFiles(settings);
  return files === undefined ? inTheClear : securedBy(files);
}

function clientTlsFiles(settings: Settings): ClientTlsFiles | undefined {
  checkTogether(settings, 'tls.cert', 'tls.key');
  checkTogether(settings, 'tls.key', 'tls.cert');
  checkTogether(settings, 'tls.cert', 'tls.ca');
  const { 'tls.ca': ca, 'tls.cert': cert, 'tls.key': key } = settings;
  if (ca === '') return undefined;
  return { ca, own: cert === '' ? undefined : { cert, key } };
}
