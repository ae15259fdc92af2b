/**
 * How agents and commands connect under TLS: the broker's certificate must be signed by a known authority and name the
 * host that was asked for. Files are read for each connection, as they may have been renewed.
 */
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext, rootCertificates } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { BackplaneError } from '../errors.js';
import { type ChannelSecurity, CLEAR_CHANNEL } from '../wire/grpc/rpc.js';
import { readAuthorities, readKeyPair } from './key-pair.js';

/** Instead of a file: the authorities that Node knows. */
const SYSTEM = 'system';

export interface ClientTlsFiles {
  /** PEM file of the authorities of the broker's certificate, or `system`. */
  readonly ca: string;
  /** This side's certificate and key, PEM files. */
  readonly own: { readonly cert: string; readonly key: string } | undefined;
}

/** How to connect to a broker at host:port. */
export type SecurityFor = (broker: string) => ChannelSecurity;

export const inTheClear: SecurityFor = () => CLEAR_CHANNEL;

/** The returned function throws BackplaneError invalid_argument when a file is not sound. */
export function securedBy({ ca, own }: ClientTlsFiles): SecurityFor {
  return (broker) => {
    const pair = own && readKeyPair(own.cert, own.key, Date.now());
    const authorities = ca === SYSTEM ? [...rootCertificates] : readAuthorities(ca).pem;
    return securedWith(broker, { ca: authorities, ...(pair && { cert: pair.cert, key: pair.key }) });
  };
}

export interface Shown {
  readonly ca: Buffer | string[];
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** @throws BackplaneError invalid_argument when the library cannot use what it is given */
export function securedWith(broker: string, shown: Shown): ChannelSecurity {
  const { host } = hostAndPort(broker);
  return {
    isSecure: true,
    showsCertificate: shown.cert !== undefined,
    credentials: credentials.createFromSecureContext(secureContext(shown), {
      checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
    }),
    // An address is no server name: Node would print a warning. The check above is of the address all the same.
    options: isIP(host) === 0 ? {} : { 'grpc.ssl_target_name_override': 'localhost' },
  };
}

/** Of a broker at host:port; a host that is an IPv6 address stands in brackets there. */
export function hostAndPort(broker: string): { readonly host: string; readonly port: number } {
  const at = broker.lastIndexOf(':');
  return { host: broker.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(broker.slice(at + 1)) };
}

function secureContext(shown: Shown) {
  try {
    return createSecureContext({ ...shown, minVersion: 'TLSv1.2' });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BackplaneError('invalid_argument', `certificate, key and CA cannot be used: ${reason}`);
  }
}
