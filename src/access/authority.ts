/**
 * A certificate authority: makes its own certificate and those of brokers, nodes and clients. All keys are of the curve
 * P-256, which every TLS library takes.
 *
 *   SPIFFE ID := "spiffe://backplane/" ("node" | "client" | "broker") "/" name
 */
import { createPublicKey, type KeyObject, randomBytes, webcrypto, type X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { JsonGeneralName, X509CertificateCreateCommonParams } from '@peculiar/x509';
import { BackplaneError, invalid } from '../errors.js';
import { AUTHORITY_MS, CERTIFICATE_EARLY_MS, SIGNING_REQUEST_BYTES_MAX } from '../limits.js';
import { readAuthorities, readPrivateKey } from './key-pair.js';

/** `nats`: a nats-server, which is reached by others and reaches others. */
export type HolderKind = 'node' | 'client' | 'broker' | 'nats';

export interface Holder {
  readonly kind: HolderKind;
  readonly name: string;
  /** Of brokers and nats-servers: host names and addresses under which they are reached. */
  readonly hosts: readonly string[];
}

interface Pem {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const CURVE = { name: 'ECDSA', namedCurve: 'P-256' } as const;
/** Bound of X.520; a longer name is in the SPIFFE ID only. */
const COMMON_NAME_CHARACTERS_MAX = 64;

export function spiffeId({ kind, name }: Pick<Holder, 'kind' | 'name'>): string {
  return `spiffe://backplane/${kind}/${name}`;
}

/** A new authority, whose name people see. */
export async function newAuthority(name: string, nowMs: number): Promise<Pem> {
  const x509 = await library();
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...period(nowMs, nowMs + AUTHORITY_MS),
    serialNumber: serial(),
    name: [{ CN: [name] }],
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false),
    ],
  });
  return { cert: `${certificate.toString('pem')}\n`, key: await keyText(keys.privateKey) };
}

/** A new key, and the request by which an authority certifies it (PKCS #10, DER). */
export async function newSigningRequest(): Promise<{ readonly key: string; readonly request: Buffer }> {
  const x509 = await library();
  const keys = await newKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: SIGNING });
  return { key: await keyText(keys.privateKey), request: Buffer.from(request.rawData) };
}

/**
 * The public key of a signing request (SPKI, DER), whose holder has signed it. What else the request asks for is
 * ignored: the authority decides what it certifies.
 * @throws BackplaneError invalid_argument
 */
export async function requestedKey(request: Buffer): Promise<Buffer> {
  if (request.length > SIGNING_REQUEST_BYTES_MAX) {
    throw invalid('signing_request', `must be at most ${SIGNING_REQUEST_BYTES_MAX} bytes, got ${request.length}`);
  }
  const x509 = await library();
  let key: Buffer;
  let isSigned = false;
  try {
    const parsed = new x509.Pkcs10CertificateRequest(request);
    key = Buffer.from(parsed.publicKey.rawData);
    checkCurve(key);
    isSigned = await parsed.verify();
  } catch (cause) {
    if (cause instanceof BackplaneError) throw cause;
    throw invalid('signing_request', 'is no PKCS #10 request');
  }
  if (!isSigned) throw invalid('signing_request', 'is not signed with its key');
  return key;
}

export class Authority {
  readonly certificate: X509Certificate;
  readonly #key: KeyObject;

  /** @throws BackplaneError invalid_argument unless the files hold the certificate and the key of one authority */
  constructor(certFile: string, keyFile: string) {
    const key = readPrivateKey(keyFile);
    const own = readAuthorities(certFile).certificates.find((certificate) => certificate.checkPrivateKey(key));
    if (own === undefined) throw unusable(`the key in ${keyFile} is not that of a certificate in ${certFile}`);
    if (!own.ca) throw unusable(`the certificate in ${certFile} is not that of an authority`);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
      throw unusable(`the key in ${keyFile} must be of the curve P-256, as "backplane certs init" makes it`);
    this.certificate = own;
    this.#key = key;
  }

  /** PEM. */
  get pem(): string {
    return this.certificate.toString();
  }

  /** SHA-256 of the certificate (DER), in base64url. */
  get pin(): string {
    return pinOf(this.certificate);
  }

  /** A certificate with a new key. */
  async issue(holder: Holder, validMs: number, nowMs: number): Promise<Pem> {
    const keys = await newKeys();
    const spki = Buffer.from(await webcrypto.subtle.exportKey('spki', keys.publicKey));
    return { cert: await this.certify(spki, holder, validMs, nowMs), key: await keyText(keys.privateKey) };
  }

  /** A certificate (PEM) for a public key (SPKI, DER). It never outlives the authority's own. */
  async certify(publicKey: Buffer, holder: Holder, validMs: number, nowMs: number): Promise<string> {
    const x509 = await library();
    const issuer = new x509.X509Certificate(this.certificate.raw);
    const key = new x509.PublicKey(publicKey);
    const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
    const usages = { broker: [serverAuth], nats: [serverAuth, clientAuth], node: [clientAuth], client: [clientAuth] };
    const extensions: X509CertificateCreateCommonParams['extensions'] = [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages[holder.kind]),
      new x509.SubjectAlternativeNameExtension(alternativeNames(holder)),
      await x509.AuthorityKeyIdentifierExtension.create(issuer, false),
    ];
    const endsMs = Math.min(nowMs + validMs, Date.parse(this.certificate.validTo));
    const certificate = await x509.X509CertificateGenerator.create({
      ...period(nowMs, endsMs),
      serialNumber: serial(),
      subject: [{ CN: [holder.name.slice(0, COMMON_NAME_CHARACTERS_MAX)] }],
      issuer: issuer.subjectName,
      publicKey: key,
      signingKey: await signingKey(this.#key),
      signingAlgorithm: SIGNING,
      extensions,
    });
    return `${certificate.toString('pem')}\n`;
  }
}

/** SHA-256 of a certificate (DER), in base64url. */
export function pinOf({ fingerprint256 }: Pick<X509Certificate, 'fingerprint256'>): string {
  return Buffer.from(fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
}

function library() {
  return import('./certificate-library.js');
}

function alternativeNames({ kind, name, hosts }: Holder): JsonGeneralName[] {
  const id: JsonGeneralName = { type: 'url', value: spiffeId({ kind, name }) };
  return [id, ...hosts.map((host): JsonGeneralName => ({ type: isIP(host) === 0 ? 'dns' : 'ip', value: host }))];
}

/** From a little earlier on, as clocks differ. */
function period(nowMs: number, endsMs: number) {
  return { notBefore: new Date(nowMs - CERTIFICATE_EARLY_MS), notAfter: new Date(endsMs) };
}

/** Positive and without a leading zero, in hex. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function newKeys() {
  return webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
}

async function keyText(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n');
}

function signingKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const der = key.export({ type: 'pkcs8', format: 'der' });
  return webcrypto.subtle.importKey('pkcs8', der, CURVE, false, ['sign']);
}

function checkCurve(spki: Buffer): void {
  const { asymmetricKeyDetails } = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  if (asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw invalid('signing_request', 'must have a key of the curve P-256');
}

function unusable(message: string): BackplaneError {
  return new BackplaneError('invalid_argument', message);
}
