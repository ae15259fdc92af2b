/**
 * TLS for the gRPC library. Its own credentials of files cannot be renewed, or drop every new connection while a file is
 * being replaced (`FileWatcherCertificateProvider`), so that the class it exports is filled with what ServerTls says.
 */
import { ServerCredentials } from '@grpc/grpc-js';
import { TLS_HANDSHAKE_MS } from '../../../limits.js';
import type { ServerTls } from './server-tls.js';

export class ReloadedCredentials extends ServerCredentials {
  constructor(tls: ServerTls) {
    // Whoever comes without a certificate may come with a token; a bad certificate is refused by guardConnections().
    super({ requestCert: tls.asksClients, rejectUnauthorized: false, handshakeTimeout: TLS_HANDSHAKE_MS }, tls.context);
    tls.onChange((context) => this.updateSecureContextOptions(context));
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
