/** Addresses to listen on: parses them, restricts them to loopback, and binds them with a one-line error on failure. */

import type { AddressInfo, Server as NetServer } from 'node:net';
import { type Server as GrpcServer, logVerbosity, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import { statedIdentity } from '../../access/certificate-identity.js';
import { BackplaneError } from '../../errors.js';
import { guardCalls } from '../../wire/grpc/call-guard.js';
import { http2Servers, setSessionWindow } from '../../wire/grpc/server-options.js';
import { nameConnections } from '../../wire/grpc/session-pings.js';
import { gateStreams, interceptStreams } from '../../wire/grpc/stream-gate.js';
import { checkVersions, VERSION_KEY } from '../../wire/protocol.js';
import type { Gate } from './gate.js';
import { guardConnections } from './tls/connection-guard.js';
import { ReloadedCredentials } from './tls/grpc-credentials.js';
import type { ServerTls } from './tls/server-tls.js';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** host:port, an IPv6 host in brackets. */
  readonly text: string;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9.-]{1,253})):(\d{1,5})$/;

/**
 * `setting` is named in errors; `anywhere`: also an address beyond loopback is allowed, because connections are encrypted
 * or because the operator said so. Throws invalid_argument.
 */
export function parseListenAddress(setting: string, text: string, anywhere: boolean): ListenAddress {
  const match = ADDRESS.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new BackplaneError(
      'invalid_argument',
      `${setting} must be host:port, got ${JSON.stringify(text.slice(0, 80))}`,
    );
  }
  const host = match[1] ?? match[2]!;
  if (!anywhere && !isLoopback(host)) {
    throw new BackplaneError(
      'invalid_argument',
      `${setting} is ${text}, which others can reach, and nothing is encrypted: give --tls-cert and --tls-key ("backplane certs init" makes them), use 127.0.0.1, or allow it with --insecure or BACKPLANE_INSECURE=true`,
    );
  }
  return { host, port, text };
}

/** `host` as in ListenAddress: a name or an address, without brackets. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** `address`: host:port, as a setting has it. */
export function isLoopbackAddress(address: string): boolean {
  return isLoopback(address.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''));
}

export interface BoundGrpc {
  /** host:port, with the real port if port 0 was asked for. */
  readonly address: string;
  readonly endConnections: () => void;
}

/**
 * Binds the server and makes every call pass `gate`. `version`: this broker's, which callers must fit that say theirs.
 * Throws failed_precondition when it cannot listen.
 */
export async function bindGrpc(
  server: GrpcServer,
  address: ListenAddress,
  gate: Gate,
  version: string,
  tls?: ServerTls,
): Promise<BoundGrpc> {
  // The library would print a line of its own for a failure that is reported here.
  setLogVerbosity(logVerbosity.NONE);
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = tls ? new ReloadedCredentials(tls) : ServerCredentials.createInsecure();
    server.bindAsync(address.text, credentials, (error, bound) => {
      if (error) reject(listenFailure('grpc.listen', address, error.message));
      else resolve(bound);
    });
  }).finally(() => setLogVerbosity(logVerbosity.ERROR));
  interceptStreams(server, (_, { [VERSION_KEY]: theirs }) => {
    if (theirs !== undefined) checkVersions('this command', String(theirs), version, 'the broker');
  });
  gateStreams(server, (authorization, peer, certificate) =>
    gate.identify(authorization, peer, certificate && (() => statedIdentity(certificate))),
  );
  nameConnections(server);
  guardCalls(server);
  if (tls) for (const secure of http2Servers(server)) guardConnections(secure, (...refused) => tls.refused(...refused));
  return { address: joined(address.host, port), endConnections: setSessionWindow(server) };
}

/** Returns host:port, with the real port if port 0 was asked for. Throws failed_precondition when it cannot listen. */
export async function bindHttp(server: NetServer, address: ListenAddress): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error) => reject(listenFailure('http.listen', address, error.message));
    server.once('error', failed);
    server.listen(address.port, address.host, () => {
      server.off('error', failed);
      resolve();
    });
  });
  return joined(address.host, (server.address() as AddressInfo).port);
}

function listenFailure(setting: string, { text }: ListenAddress, reason: string): BackplaneError {
  const variable = `BACKPLANE_${setting.toUpperCase().replace('.', '_')}`;
  const flag = `--${setting.replace('.', '-')}`;
  const why = /EADDRINUSE/.test(reason)
    ? 'the port is in use'
    : /EACCES/.test(reason)
      ? 'that port may not be used by this user'
      : /EADDRNOTAVAIL/.test(reason)
        ? 'this machine has no such address'
        : reason.replace(/\s+/g, ' ');
  return new BackplaneError(
    'failed_precondition',
    `cannot listen on ${text}: ${why}; choose another with ${flag} or ${variable}`,
  );
}

function joined(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
