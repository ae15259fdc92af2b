/** Connections to NATS, as brokers and the cluster's commands make them. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { Authenticator, ConnectionOptions, NatsConnection, ServerInfo } from 'nats';
import { BackplaneError } from '../../errors.js';
import { NATS_PAYLOAD_BYTES_MIN, NATS_PING_MS, NATS_RECONNECT_MS, NATS_REQUEST_MS } from '../../limits.js';

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
}

/** Older servers lost frames that they had acknowledged: see docs/cluster.md. */
const SERVER_MIN = [2, 10, 27] as const;

/**
 * One that reconnects for ever. Throws unavailable where no server answers, failed_precondition for a server that is too old,
 * and invalid_argument for files that cannot be read.
 * @param purpose is shown by the server's monitoring
 */
export async function connectNats(options: NatsOptions, purpose: string): Promise<NatsConnection> {
  // Only brokers on NATS load it.
  const nats = await import('./nats-library.js');
  const servers = [...options.servers];
  const { ca, cert, key } = options;
  for (const [field, file] of Object.entries({ ca, cert, key })) if (file !== undefined) read(`nats.${field}`, file);
  // The client reads them at each connection, so that a renewed certificate is used.
  const tls = {
    ...(ca === undefined ? {} : { caFile: ca }),
    ...(cert === undefined ? {} : { certFile: cert }),
    ...(key === undefined ? {} : { keyFile: key }),
    checkServerIdentity: identityCheck(servers),
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
    // With these the client takes no server without TLS.
    ...(ca === undefined && cert === undefined && servers.every((server) => !server.startsWith('tls:')) ? {} : { tls }),
    ...authenticator(nats, options),
  };
  const connection = await nats.connect(wanted).catch((cause: Error) => {
    throw new BackplaneError('unavailable', `nats: none of ${servers.join(', ')} can be used: ${cause.message}`);
  });
  try {
    checkServer(connection.info!, connection.getServer());
  } catch (cause) {
    await connection.close();
    throw cause;
  }
  return connection;
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

/** Throws failed_precondition, with the reason. */
function checkServer({ version = '', max_payload: payloadBytesMax }: ServerInfo, server: string): void {
  if (payloadBytesMax < NATS_PAYLOAD_BYTES_MIN) {
    const bound = `it must be at least ${NATS_PAYLOAD_BYTES_MIN}`;
    throw new BackplaneError('failed_precondition', `max_payload of ${server} is ${payloadBytesMax}, ${bound}`);
  }
  const parts = version.split(/[.-]/).map(Number);
  for (const [at, least] of SERVER_MIN.entries()) {
    const part = parts[at] ?? 0;
    if (part > least) return;
    if (part < least) {
      throw new BackplaneError(
        'failed_precondition',
        `nats-server at ${server} is ${version || 'of an unknown version'}, it must be at least ${SERVER_MIN.join('.')}: ` +
          'earlier ones lose what they acknowledged',
      );
    }
  }
}

function authenticator(
  { credsAuthenticator, nkeyAuthenticator }: typeof import('./nats-library.js'),
  { credentials, nkey }: NatsOptions,
): { readonly authenticator?: Authenticator } {
  // Read at each connection, so that a renewed file is used.
  if (credentials !== undefined) {
    read('nats.credentials', credentials);
    return { authenticator: (nonce) => credsAuthenticator(read('nats.credentials', credentials))(nonce) };
  }
  if (nkey === undefined) return {};
  const seed = () => new Uint8Array(Buffer.from(read('nats.nkey', nkey).toString().trim()));
  seed();
  return { authenticator: (nonce) => nkeyAuthenticator(seed())(nonce) };
}

function read(field: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new BackplaneError('invalid_argument', `${field} ${file} cannot be read: ${(cause as Error).message}`);
  }
}
