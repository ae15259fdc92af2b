/**
 * What the broker's ports show and believe under TLS: a certificate with its key, and the authorities of client
 * certificates. When the files change they are checked as a whole before they are used; until they are sound the last
 * ones that were stay in use, and log, status and metrics say so.
 */
import { constants, type X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { Logger } from 'pino';
import { type KeyPair, readAuthorities, readKeyPair } from '../../../access/key-pair.js';
import { asBackplaneError, BackplaneError } from '../../../errors.js';
import { CERTIFICATE_ENDS_SOON_MS, CERTIFICATE_LOOK_MS, REFUSALS_LOGGED_INTERVAL_MS } from '../../../limits.js';
import type { ServiceAccountOptions } from '../join/service-accounts.js';
import { FileWatch } from './file-watch.js';

export interface TlsFiles {
  /** PEM files. */
  readonly cert: string;
  readonly key: string;
  /** Authorities of client certificates; undefined: no client is asked for one. */
  readonly clientCa: string | undefined;
  /** The broker signs certificates of nodes, as one of those authorities. */
  readonly signs?: Signs | undefined;
}

type Context = SecureContextOptions & { readonly cert: Buffer; readonly key: Buffer; readonly ca?: Buffer };

interface Signs {
  readonly key: string;
  /** How long certificates of nodes hold. */
  readonly validMs: number;
  readonly serviceAccounts?: ServiceAccountOptions | undefined;
}

export class ServerTls {
  /** Clients are asked for a certificate. */
  readonly asksClients: boolean;
  readonly #files: TlsFiles;
  readonly #logger: Logger;
  readonly #listeners: ((context: SecureContextOptions) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #pair: KeyPair;
  #context: Context;
  /** Why the files as they are now are not in use. */
  #unsound: string | undefined;
  #saidEnding = false;
  /** Connections closed because of their certificates. */
  refusals = 0;
  #saidRefusedMs = Number.NEGATIVE_INFINITY;

  /** @throws BackplaneError invalid_argument unless all files are sound */
  constructor(files: TlsFiles, logger: Logger) {
    this.#files = files;
    this.#logger = logger;
    this.asksClients = files.clientCa !== undefined;
    const { cert, key, clientCa } = files;
    // Before they are read, so that no change in between is missed.
    const watch = new FileWatch(clientCa === undefined ? [cert, key] : [cert, key, clientCa], () => this.reload());
    const { pair, context } = this.#read();
    this.#pair = pair;
    this.#context = context;
    this.#timer = setInterval(() => {
      watch.look();
      // A certificate that did not hold yet becomes sound by itself.
      if (this.#unsound !== undefined) this.reload();
      this.#noteEnd();
    }, CERTIFICATE_LOOK_MS).unref();
    this.#noteEnd();
  }

  /** For new connections. */
  get context(): SecureContextOptions {
    return this.#context;
  }

  /** Milliseconds since 1970 at which the certificate in use ends. */
  get endsMs(): number {
    return this.#pair.endsMs;
  }

  /** What an operator must see to, in a sentence; undefined when all is well. */
  get trouble(): string | undefined {
    if (this.#unsound !== undefined)
      return `${this.#unsound}: the certificate from before stays in use, until ${this.#pair.certificate.validTo}`;
    const leftMs = this.endsMs - Date.now();
    if (leftMs > CERTIFICATE_ENDS_SOON_MS) return undefined;
    const ends = leftMs > 0 ? 'ends' : 'has ended';
    return `the certificate in ${this.#files.cert} ${ends} on ${this.#pair.certificate.validTo}`;
  }

  /** `listener` gets what is to be shown to new connections, each time it changes. */
  onChange(listener: (context: SecureContextOptions) => void): void {
    this.#listeners.push(listener);
  }

  /** Reads the files again; connections that are open stay as they are. */
  reload(): void {
    try {
      const { pair, context } = this.#read();
      const { validTo, subject, subjectAltName } = pair.certificate;
      const isSame = this.#isInUse(context);
      this.#pair = pair;
      this.#context = context;
      this.#unsound = undefined;
      if (isSame) return;
      this.#saidEnding = false;
      for (const listener of this.#listeners) listener(context);
      const names = subjectAltName ?? subject;
      this.#logger.info({ names, until: validTo }, 'new connections get the certificate that was read now');
    } catch (cause) {
      const { message } = asBackplaneError(cause);
      if (message !== this.#unsound)
        this.#logger.error(
          `${message}: the certificate from before stays in use, until ${this.#pair.certificate.validTo}`,
        );
      this.#unsound = message;
    }
  }

  /** Counts a connection that was closed because of its certificate; one in a while is logged. */
  refused(reason: string, peer: string): void {
    this.refusals++;
    const nowMs = performance.now();
    if (nowMs - this.#saidRefusedMs < REFUSALS_LOGGED_INTERVAL_MS) return;
    this.#saidRefusedMs = nowMs;
    this.#logger.warn(
      { peer, reason, refused: this.refusals },
      'a connection was closed: its certificate does not hold here',
    );
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #read(): { readonly pair: KeyPair; readonly context: Context } {
    const { cert, key, clientCa } = this.#files;
    const pair = readKeyPair(cert, key, Date.now());
    const authorities = clientCa === undefined ? undefined : readAuthorities(clientCa);
    const context: Context = {
      cert: withAuthority(pair, authorities?.certificates ?? []),
      key: pair.key,
      ...(authorities && { ca: authorities.pem }),
      minVersion: 'TLSv1.2',
      // A resumed session would be taken for authorized though it brings no certificate. In TLS 1.2 a client could begin
      // again on an open connection with another certificate, which guardConnections() never sees.
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    };
    try {
      // What is behind the first certificate of a file is looked at here only.
      createSecureContext(context);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BackplaneError('invalid_argument', `the certificate in ${cert} cannot be used: ${reason}`);
    }
    return { pair, context };
  }

  #isInUse({ cert, key, ca }: Context): boolean {
    const { cert: usedCert, key: usedKey, ca: usedCa } = this.#context;
    return cert.equals(usedCert) && key.equals(usedKey) && (ca === undefined || ca.equals(usedCa ?? Buffer.alloc(0)));
  }

  #noteEnd(): void {
    if (this.#saidEnding || this.#unsound !== undefined) return;
    const { trouble } = this;
    if (trouble === undefined) return;
    this.#saidEnding = true;
    this.#logger.warn(`${trouble}: replace it, it is read when it changes`);
  }
}

/** A node that joins knows its broker by the authority's certificate, which it must be shown. */
function withAuthority({ cert, certificate }: KeyPair, authorities: readonly X509Certificate[]): Buffer {
  const authority = authorities.find((each) => certificate.checkIssued(each) && certificate.verify(each.publicKey));
  return authority === undefined ? cert : Buffer.concat([cert, Buffer.from(`\n${authority.toString()}`)]);
}
