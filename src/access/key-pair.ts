/** Certificates, keys and authorities in PEM files, checked before anything is done with them. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { BackplaneError } from '../errors.js';
import { CERTIFICATE_FILE_BYTES_MAX } from '../limits.js';
import { readBoundedFile, readFailure } from '../storage/bounded-file.js';

/** A certificate, perhaps followed by those between it and its authority, and its key. */
export interface KeyPair {
  /** PEM. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** The first certificate. */
  readonly certificate: X509Certificate;
  /** Milliseconds since 1970 at which it ends. */
  readonly endsMs: number;
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * The pair in two files. Errors name the file and the reason in one line, and nothing of the key.
 * @throws BackplaneError invalid_argument: a file that cannot be read or is none, a key of another certificate, a
 * certificate that has ended or not begun
 */
export function readKeyPair(certFile: string, keyFile: string, nowMs: number): KeyPair {
  const cert = readPem('certificate', certFile);
  const certificate = parsedCertificate(certFile, cert);
  const key = readPem('key', keyFile);
  if (!certificate.checkPrivateKey(parsedKey(keyFile, key)))
    throw refusal(`the key in ${keyFile} is not that of the certificate in ${certFile}`);
  const { validFrom, validTo } = certificate;
  if (Date.parse(validFrom) > nowMs) throw refusal(`the certificate in ${certFile} holds only from ${validFrom} on`);
  if (Date.parse(validTo) <= nowMs) throw refusal(`the certificate in ${certFile} has expired on ${validTo}`);
  return { cert, key, certificate, endsMs: Date.parse(validTo) };
}

/** The certificates of authorities in a file, at least one. @throws BackplaneError invalid_argument */
export function readAuthorities(file: string): { readonly pem: Buffer; readonly certificates: X509Certificate[] } {
  const pem = readPem('certificate', file);
  const blocks = pem.toString('latin1').match(PEM_CERTIFICATE) ?? [];
  if (blocks.length === 0) throw refusal(`${file} has no certificate in PEM form`);
  return { pem, certificates: blocks.map((block) => parsedCertificate(file, Buffer.from(block))) };
}

export function readPrivateKey(file: string): KeyObject {
  return parsedKey(file, readPem('key', file));
}

function readPem(what: string, file: string): Buffer {
  try {
    return readBoundedFile(file, CERTIFICATE_FILE_BYTES_MAX);
  } catch (cause) {
    throw refusal(`the ${what} file ${file} cannot be read: ${readFailure(cause)}`);
  }
}

function parsedCertificate(file: string, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw refusal(`${file} has no certificate in PEM form`);
  }
}

function parsedKey(file: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    const secret = (cause as NodeJS.ErrnoException).code === 'ERR_MISSING_PASSPHRASE';
    throw refusal(
      secret ? `the key in ${file} has a passphrase, which nobody can enter` : `${file} has no private key in PEM form`,
    );
  }
}

function refusal(message: string): BackplaneError {
  return new BackplaneError('invalid_argument', message);
}
