/** A node's calls for its certificates: the first by a join token, each later one by the one before. */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import type { ServiceError } from '@grpc/grpc-js';
import { BackplaneError } from '../errors.js';
import {
  CLIENT_ANSWER_MS,
  SERVICE_ACCOUNT_TOKEN_CHARACTERS_MAX,
  SHOWN_CHAIN_MAX,
  TLS_HANDSHAKE_MS,
} from '../limits.js';
import { readBoundedFile, readFailure } from '../storage/bounded-file.js';
import { type ChannelSecurity, createJoinClient } from '../wire/grpc/rpc.js';
import type { JoinClient, JoinResponse__Output } from '../wire/messages.js';
import { newSigningRequest, pinOf } from './authority.js';
import { type JoinToken, joinTokenText } from './join-token.js';
import { hostAndPort, type SecurityFor, securedWith } from './secure-channel.js';
import { secureTrouble } from './secure-trouble.js';

export interface NodeCertificate {
  /** PEM: the node's key, its certificate, and those between that and the authority. */
  readonly own: string;
  /** PEM: who signs certificates of brokers. */
  readonly authorities: string;
}

export interface ServiceAccount {
  readonly tokenFile: string;
  /** By which the broker is known. */
  readonly securityFor: SecurityFor;
}

type Callback = (error: ServiceError | null, response?: JoinResponse__Output) => void;

/**
 * The first certificate of a node. The broker is believed once it shows the authority that the token names, and a
 * certificate of that authority for its own name; before that it learns nothing but that somebody connects.
 * @throws BackplaneError unauthenticated for a token that is used or late; permission_denied for another node's;
 * unavailable for a broker that is not reached, or is another one
 */
export async function join(broker: string, token: JoinToken, node: string): Promise<NodeCertificate> {
  const authority = await shownAuthority(broker, token.pin);
  const security = securedWith(broker, { ca: Buffer.from(authority.toString()) });
  return joinBy(broker, security, node, { token: joinTokenText(token) });
}

/**
 * The same by the service account token in a file, which Kubernetes renews. `securityFor` must know the broker.
 * @throws BackplaneError invalid_argument for a file that cannot be read; else as join()
 */
export async function joinByServiceAccount(
  broker: string,
  { tokenFile, securityFor }: ServiceAccount,
  node: string,
): Promise<NodeCertificate> {
  let token: string;
  try {
    token = readBoundedFile(tokenFile, SERVICE_ACCOUNT_TOKEN_CHARACTERS_MAX).toString('latin1').trim();
  } catch (cause) {
    const message = `the service account token ${tokenFile} cannot be read: ${readFailure(cause)}`;
    throw new BackplaneError('invalid_argument', message);
  }
  return joinBy(broker, securityFor(broker), node, { serviceAccountToken: token });
}

async function joinBy(
  broker: string,
  security: ChannelSecurity,
  node: string,
  credential: { readonly token: string } | { readonly serviceAccountToken: string },
): Promise<NodeCertificate> {
  const { key, request: signingRequest } = await newSigningRequest();
  const answer = await ask(broker, security, (client, options, done) =>
    client.join({ node, signingRequest, ...credential }, options, done),
  );
  return checked(key, answer);
}

/** The next certificate of the node whose certificate `security` shows. @throws BackplaneError */
export async function renew(broker: string, security: ChannelSecurity): Promise<NodeCertificate> {
  const { key, request: signingRequest } = await newSigningRequest();
  const answer = await ask(broker, security, (client, options, done) =>
    client.renew({ signingRequest }, options, done),
  );
  return checked(key, answer);
}

/** A connection to look at what the broker shows: nothing is sent on it. */
function shownAuthority(broker: string, pin: string): Promise<X509Certificate> {
  const { host, port } = hostAndPort(broker);
  return new Promise((resolve, reject) => {
    const servername = isIP(host) === 0 ? host : '';
    const options = { host, port, servername, ALPNProtocols: ['h2'], minVersion: 'TLSv1.2' } as const;
    // Whatever it shows is looked at; what is believed of it is decided by the pin.
    const socket = connect({ ...options, rejectUnauthorized: false, timeout: TLS_HANDSHAKE_MS }, () => {
      const found = chainOf(socket.getPeerCertificate(true)).find((certificate) => pinOf(certificate) === pin);
      socket.destroy();
      if (found) resolve(found);
      else reject(unknownBroker(broker));
    });
    socket.on('timeout', () => socket.destroy(new Error('no answer in time')));
    socket.on('error', (cause) => {
      const error = new BackplaneError('unavailable', `no broker answers at ${broker}: ${cause.message}`);
      reject(secureTrouble(broker, `No connection established. ${cause.message}`, true) ?? error);
    });
  });
}

function chainOf(first: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next: DetailedPeerCertificate | undefined = first;
  for (; next?.raw !== undefined && chain.length < SHOWN_CHAIN_MAX; next = next.issuerCertificate) {
    chain.push(new X509Certificate(next.raw));
    // An authority is its own issuer.
    if (next.issuerCertificate === next) break;
  }
  return chain;
}

function unknownBroker(broker: string): BackplaneError {
  const reason = 'it does not show the CA that the join token names';
  return new BackplaneError('unavailable', `the broker at ${broker} is not believed: ${reason}`, {
    field: 'join-token',
  });
}

async function ask(
  broker: string,
  security: ChannelSecurity,
  call: (client: JoinClient, options: { readonly deadline: Date }, done: Callback) => unknown,
): Promise<JoinResponse__Output> {
  const client = createJoinClient(broker, security);
  try {
    return await new Promise((resolve, reject) => {
      call(client, { deadline: new Date(Date.now() + CLIENT_ANSWER_MS) }, (error, response) => {
        if (error === null && response !== undefined) resolve(response);
        else reject(failure(broker, error));
      });
    });
  } finally {
    client.close();
  }
}

const REFUSALS = {
  3: 'invalid_argument',
  7: 'permission_denied',
  9: 'failed_precondition',
  16: 'unauthenticated',
} as const;

function failure(broker: string, error: ServiceError | null): BackplaneError {
  const said = error?.details ?? 'no answer';
  const trouble = secureTrouble(broker, said, true);
  if (trouble !== undefined) return trouble;
  return new BackplaneError(REFUSALS[error?.code as keyof typeof REFUSALS] ?? 'unavailable', said);
}

/** @throws BackplaneError internal for an answer that is of no use */
function checked(key: string, { certificates, authorities }: JoinResponse__Output): NodeCertificate {
  try {
    const certificate = new X509Certificate(certificates);
    const authority = new X509Certificate(authorities);
    if (certificate.verify(authority.publicKey)) return { own: key + certificates, authorities };
  } catch {
    // Told below.
  }
  throw new BackplaneError('internal', 'the broker answered with a certificate that its authority has not signed');
}
