/**
 * The one identity that a certificate states: its SPIFFE ID if it has one, else its common name. A certificate of two
 * identities would be whoever the reader picks, so it has none.
 *
 *   Identity := SpiffeId | CommonName
 *   SpiffeId := "spiffe://" trust domain ("/" segment)+        (of the subject's alternative names, the only URI)
 */
import type { PeerCertificate } from 'node:tls';
import { BackplaneError } from '../errors.js';
import { ALTERNATIVE_NAMES_CHARACTERS_MAX, CERTIFICATE_NAME_CHARACTERS_MAX } from '../limits.js';
import { shown } from '../text/shown.js';

const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[A-Za-z0-9._-]+)+$/;
/** No ":" and no "/", so that no common name passes for a SPIFFE ID. */
const COMMON_NAME = /^[A-Za-z0-9_][A-Za-z0-9._@-]*$/;

/** As Node tells it of a peer's certificate, and X509Certificate.toLegacyObject(). */
export type CertificateNames = Pick<PeerCertificate, 'subject' | 'subjectaltname'>;

/** By which a certificate is told from others of its identity. */
export interface CertificateFacts {
  /** Hex. */
  readonly serial: string;
  /** Milliseconds since 1970 from which on it holds. */
  readonly beginsMs: number;
}

export interface StatedIdentity extends CertificateFacts {
  readonly name: string;
}

/** The same as certificateIdentity(), with which certificate it is. */
export function statedIdentity(certificate: PeerCertificate): StatedIdentity {
  const { serialNumber: serial, valid_from: begins } = certificate;
  return { name: certificateIdentity(certificate), serial, beginsMs: Date.parse(begins) };
}

/**
 * Call only for a certificate that was verified. Returns at most CERTIFICATE_NAME_CHARACTERS_MAX characters of
 * A-Z a-z 0-9 . _ - @ : /.
 * @throws BackplaneError unauthenticated for a certificate that does not state exactly one identity
 */
export function certificateIdentity({ subject, subjectaltname }: CertificateNames): string {
  const ids = uris(subjectaltname ?? '');
  if (ids.length > 1) throw refusal(`must name at most one URI, names ${ids.length}`);
  const [id] = ids;
  if (id?.toLowerCase().startsWith('spiffe:')) return checked('SPIFFE ID', id, isSpiffeId);
  const names: unknown = subject?.CN;
  if (typeof names === 'string') return checked('common name', names, (name) => COMMON_NAME.test(name));
  throw refusal(
    Array.isArray(names)
      ? `must have one common name, has ${names.length}`
      : 'must name a SPIFFE ID or have a common name, has neither',
  );
}

/**
 * Node separates alternative names by ", " and puts those with separators in quotes. What has quotes is refused, so that
 * no name is taken for two.
 */
function uris(names: string): string[] {
  if (names.length > ALTERNATIVE_NAMES_CHARACTERS_MAX)
    throw refusal(`must have at most ${ALTERNATIVE_NAMES_CHARACTERS_MAX} characters of alternative names`);
  if (names.includes('"')) throw refusal('has an alternative name with characters that need quotes');
  return names.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice('URI:'.length)] : []));
}

function isSpiffeId(id: string): boolean {
  return SPIFFE_ID.test(id) && !/\/\.\.?(\/|$)/.test(id);
}

function checked(what: string, name: string, isSound: (name: string) => boolean): string {
  if (name.length <= CERTIFICATE_NAME_CHARACTERS_MAX && isSound(name)) return name;
  throw refusal(`has a ${what} that is none or too long: ${shown(name)}`);
}

function refusal(problem: string): BackplaneError {
  return new BackplaneError('unauthenticated', `the certificate ${problem}`);
}
