/** Connections to NATS, as brokers and the cluster's commands make them. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { Authenticator, ConnectionOptions, NatsConnection, ServerInfo } from 'nats';
import { BackplaneError } from '../../errors.js';
import {
  NATS_INTRODUCTIONS_MAX,
  NATS_PAYLOAD_BYTES_MIN,
  NATS_PING_MS,
  NATS_RECONNECT_MS,
  NATS_REQUEST_MS,
} from '../../limits.js';

export interface NatsOptions {
  /** nats://host:port or tls://host:port, at least one. */
  readonly servers: readonly string[];
  /** Files; undefined where there is none. */
  readonly credentials?: string | undefined;
  /** A seed. */
  readonly nkey?: string | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** No other servers are used than those that are named here, whatever these say of others. */
  readonly isNamedOnly?: boolean;
}

const REFUSED = 'Authorization Violation: they refuse what they are shown (nats.credentials, nats.nkey or nats.cert)';
/** Older servers lost frames that they had acknowledged: see docs/cluster.md. */
const SERVER_MIN = [2, 10, 27] as const;

/**
 * One that reconnects until it comes to a server that is too old or takes no full frame. Such a server is told nothing: the
 * connection is closed. Throws unavailable where no server answers, failed_precondition for such a server, and
 * invalid_argument for files that cannot be read.
 * @param purpose is shown by the server's monitoring
 * @param onUnfit called once, with what the call would have thrown, where a later server is one of these
 */
export async function connectNats(
  options: NatsOptions,
  purpose: string,
  onUnfit: (reason: BackplaneError) => void = () => undefined,
): Promise<NatsConnection> {
  // Only brokers on NATS load it.
  const nats = await import('./nats-library.js');
  const shown = credentialsShown(nats, options);
  const servers = [...options.servers];
  const tls = tlsOptions(options);
  let connected: NatsConnection | undefined;
  let unfit: BackplaneError | undefined;
  let introductions = 0;
  // The client asks for it as soon as a server has said what it is, and before it says anything itself.
  const authenticator: Authenticator = (nonce) => {
    introductions++;
    // Servers name each other also to whom they refuse, and the client would try them in turn for ever.
    if (connected === undefined && introductions > NATS_INTRODUCTIONS_MAX) throw new Error(REFUSED);
    const seen = unfit;
    unfit ??= connected && unfitness(connected);
    if (unfit !== undefined && seen === undefined) onUnfit(unfit);
    // The client closes a connection whose authenticator throws.
    if (unfit !== undefined) throw unfit;
    return shown(nonce);
  };
  const wanted: ConnectionOptions = {
    servers,
    name: `backplane ${purpose}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: NATS_RECONNECT_MS,
    reconnectJitter: NATS_RECONNECT_MS / 2,
    reconnectJitterTLS: NATS_RECONNECT_MS / 2,
    pingInterval: NATS_PING_MS,
    maxPingOut: 2,
    timeout: 2 * NATS_REQUEST_MS,
    // Credentials may be replaced while a broker runs.
    ignoreAuthErrorAbort: true,
    ...(tls === undefined ? {} : { tls }),
    ...(options.isNamedOnly ? { ignoreClusterUpdates: true } : {}),
    authenticator,
  };
  const connection = await nats.connect(wanted).catch((cause: Error) => {
    throw new BackplaneError('unavailable', `nats: none of ${servers.join(', ')} can be used: ${cause.message}`);
  });
  const reason = unfitness(connection);
  if (reason !== undefined) {
    await connection.close();
    throw reason;
  }
  connected = connection;
  return connection;
}

/** With these the client takes no server without TLS; undefined where none is wanted. Throws invalid_argument. */
function tlsOptions({ servers, ca, cert, key }: NatsOptions) {
  for (const [field, file] of Object.entries({ ca, cert, key })) if (file !== undefined) read(`nats.${field}`, file);
  if (ca === undefined && cert === undefined && servers.every((server) => !server.startsWith('tls:'))) return undefined;
  // The client reads them at each connection, so that a renewed certificate is used.
  return {
    ...(ca === undefined ? {} : { caFile: ca }),
    ...(cert === undefined ? {} : { certFile: cert }),
    ...(key === undefined ? {} : { keyFile: key }),
    checkServerIdentity: identityCheck(servers),
  };
}

/**
 * The client leaves out the name of a server that is given by its address, and Node then expects `localhost`: such a
 * certificate has to hold for one of the addresses that were given.
 */
function identityCheck(servers: readonly string[]) {
  const hosts = servers.map((server) => new URL(server).hostname.replace(/^\[|\]$/g, ''));
  const unnamed = hosts.filter((host) => isIP(host) !== 0 || host === 'localhost');
  return (host: string, certificate: PeerCertificate): Error | undefined => {
    const names = host === 'localhost' && unnamed.length > 0 ? unnamed : [host];
    const faults = names.map((name) => checkServerIdentity(name, certificate));
    return faults.includes(undefined) ? undefined : faults[0];
  };
}

/** Why its server cannot be used, failed_precondition; undefined where it can. */
function unfitness(connection: NatsConnection): BackplaneError | undefined {
  const { version = '', max_payload: payloadBytesMax } = connection.info as ServerInfo;
  const server = connection.getServer();
  if (payloadBytesMax < NATS_PAYLOAD_BYTES_MIN) {
    const bound = `it must be at least ${NATS_PAYLOAD_BYTES_MIN}`;
    return new BackplaneError('failed_precondition', `max_payload of ${server} is ${payloadBytesMax}, ${bound}`);
  }
  const parts = version.split(/[.-]/).map(Number);
  const at = SERVER_MIN.findIndex((least, index) => (parts[index] ?? 0) !== least);
  if (at < 0 || (parts[at] ?? 0) > SERVER_MIN[at]!) return undefined;
  return new BackplaneError(
    'failed_precondition',
    `nats-server at ${server} is ${version || 'of an unknown version'}, it must be at least ${SERVER_MIN.join('.')}: ` +
      'earlier ones lose what they acknowledged',
  );
}

/** Throws invalid_argument for a file that cannot be read, or holds something else. */
function credentialsShown(
  { credsAuthenticator, nkeyAuthenticator }: typeof import('./nats-library.js'),
  { credentials, nkey }: NatsOptions,
): Authenticator {
  if (credentials !== undefined) return ofFile('nats.credentials', credentials, credsAuthenticator);
  if (nkey === undefined) return () => undefined;
  return ofFile('nats.nkey', nkey, (seed) => nkeyAuthenticator(new Uint8Array(Buffer.from(seed.toString().trim()))));
}

/**
 * Reads the file at each connection, so that a renewed one is used. While it is away, or written in part, what it held last
 * is shown: the client would close the connection for good.
 */
function ofFile(field: string, file: string, authenticatorOf: (content: Buffer) => Authenticator): Authenticator {
  let last = read(field, file);
  const shown = (content: Buffer, nonce?: string) => {
    try {
      return authenticatorOf(content)(nonce);
    } catch (cause) {
      throw new BackplaneError('invalid_argument', `${field} ${file}: ${(cause as Error).message}`);
    }
  };
  shown(last);
  return (nonce) => {
    try {
      const content = read(field, file);
      const signed = shown(content, nonce);
      last = content;
      return signed;
    } catch {
      return shown(last, nonce);
    }
  };
}

function read(field: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new BackplaneError('invalid_argument', `${field} ${file} cannot be read: ${(cause as Error).message}`);
  }
}
