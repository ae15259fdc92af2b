/** What the gRPC library says of a failed connection, as what an operator can do about it. */
import { BackplaneError } from '../errors.js';

/** How whoever connects gives its CA and its certificate. */
export interface TlsNames {
  readonly ca: string;
  readonly cert: string;
}

const FLAGS: TlsNames = { ca: '--tls-ca', cert: '--tls-cert' };
const CA = 'tls.ca';

/** By what OpenSSL, Node or the library says. */
const TROUBLES: readonly (readonly [pattern: RegExp, field: string, told: (names: TlsNames) => string])[] = [
  [
    /self[- ]signed certificate|unable to (get|verify|find)|invalid CA|no trusted/i,
    CA,
    ({ ca }) => `its certificate is not signed by the CA that ${ca} names`,
  ],
  [/certificate has expired/i, CA, () => 'its certificate has expired'],
  [/certificate is not yet valid/i, CA, () => "its certificate does not hold yet, or this machine's clock is behind"],
  [
    /wrong version number|packet length too long|unsupported protocol|http request/i,
    CA,
    ({ ca }) => `it does not speak TLS there: leave out ${ca}, or name its port with TLS`,
  ],
  [
    /alert (bad certificate|unknown ca|certificate)/i,
    'tls.cert',
    ({ cert }) => `it does not accept the certificate of ${cert}`,
  ],
];
const OTHER_NAME = /does not match certificate's altnames:\s*(.*?)\.?\s*(?:\(\d{4}-|$)/i;
/** The library's word for all failures before a connection is there; later ones are none of TLS. */
const NOT_CONNECTED = /No connection established/;
/** A peer that closes without a word: nothing else is known of it. */
const CLOSED = /Failed to connect|ECONNRESET|EPIPE|disconnected before secure/i;

/** `said` is the library's message, `secure` whether TLS was tried. Undefined for a failure that is none of TLS. */
export function secureTrouble(
  broker: string,
  said: string,
  secure: boolean,
  names: TlsNames = FLAGS,
): BackplaneError | undefined {
  if (!NOT_CONNECTED.test(said)) return undefined;
  const trouble = secure ? troubleUnderTls(said, names) : troubleInTheClear(said, names);
  if (trouble === undefined) return undefined;
  const [field, told] = trouble;
  return new BackplaneError('unavailable', `no secure connection to the broker at ${broker}: ${told}`, { field });
}

function troubleUnderTls(said: string, names: TlsNames): readonly [field: string, told: string] | undefined {
  const [, others] = OTHER_NAME.exec(said) ?? [];
  if (others !== undefined) return [CA, `its certificate is for another name (${others})`];
  for (const [pattern, field, told] of TROUBLES) if (pattern.test(said)) return [field, told(names)];
  if (CLOSED.test(said))
    return ['tls.cert', 'it closed the connection, as it does to a certificate that it does not know'];
  return undefined;
}

function troubleInTheClear(said: string, { ca }: TlsNames): readonly [field: string, told: string] | undefined {
  if (CLOSED.test(said)) return [CA, `it closed the connection, as it does where it wants TLS: name its CA with ${ca}`];
  return undefined;
}
