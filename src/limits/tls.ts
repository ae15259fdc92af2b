/** Bounds of TLS, of the certificates that peers show, and of joining. */
import { MiB } from './units.js';

/** A file of certificates: the system's list of authorities, the longest there is, has a quarter of it. */
export const CERTIFICATE_FILE_BYTES_MAX = 1 * MiB;
/** A connection whose handshake takes longer is closed. */
export const TLS_HANDSHAKE_MS = 10_000;
/**
 * Handshakes at once on one port; a new one replaces the oldest. A thousand agents that come back at once are through
 * in seconds, and a stranger who opens silent connections keeps nobody out.
 */
export const TLS_HANDSHAKES_MAX = 1024;
/** The files of certificates are looked at this often, and read once they stay the same from one look to the next. */
export const CERTIFICATE_LOOK_MS = 1_000;
/** From so long before its end on, the log and the status say that a certificate ends. */
export const CERTIFICATE_ENDS_SOON_MS = 7 * 86_400_000;
/** The name in a certificate, in characters: every node name fits a SPIFFE ID, which itself may have 2,048. */
export const CERTIFICATE_NAME_CHARACTERS_MAX = 320;
/** All alternative names of a peer's certificate as text; what is longer is not taken apart. */
export const ALTERNATIVE_NAMES_CHARACTERS_MAX = 16_384;
/** Requests at once on one connection of HTTP/2: a page has a few event streams and some lists. */
export const HTTP2_STREAMS_PER_CONNECTION_MAX = 64;
/** How long a new authority's certificate holds, and those that people issue, unless they say otherwise. */
export const AUTHORITY_MS = 3650 * 86_400_000;
export const ISSUED_DAYS_DEFAULT = 365;
export const ISSUED_DAYS_MAX = 3650;
/** Certificates hold from a little before they are made, for machines whose clocks are behind. */
export const CERTIFICATE_EARLY_MS = 300_000;
/** A signing request (PKCS #10) of an agent takes some 250 bytes. */
export const SIGNING_REQUEST_BYTES_MAX = 4096;
/** Names and addresses of a broker in its certificate. */
export const CERTIFICATE_HOSTS_MAX = 64;
/** A join token can be used for so long, and so many are kept. */
export const JOIN_TOKEN_MS = 900_000;
export const JOIN_TOKENS_MAX = 1024;
/** How long certificates of nodes that join hold; they are renewed after this share of it. */
export const NODE_CERTIFICATE_MS_DEFAULT = 86_400_000;
export const NODE_CERTIFICATE_MS_MIN = 3_000;
export const NODE_CERTIFICATE_MS_MAX = 365 * 86_400_000;
export const RENEWAL_SHARE = 2 / 3;
/** A failed renewal is tried again after this share of the time that is left, within these bounds. */
export const RENEWAL_RETRY_SHARE = 0.05;
export const RENEWAL_RETRY_MS_MIN = 1_000;
export const RENEWAL_RETRY_MS_MAX = 600_000;
/** Certificates of a chain that a broker shows, of which an agent that joins looks for the one that its token names. */
export const SHOWN_CHAIN_MAX = 8;
/** A service account token of Kubernetes; a projected one has some 1,200 characters. */
export const SERVICE_ACCOUNT_TOKEN_CHARACTERS_MAX = 8192;
/** The keys that such tokens are signed with: their file, how long an address is waited for, and asked again after. */
export const SERVICE_ACCOUNT_KEYS_BYTES_MAX = 256 * 1024;
export const SERVICE_ACCOUNT_KEYS_MS = 5_000;
export const SERVICE_ACCOUNT_KEYS_AGE_MS = 600_000;
