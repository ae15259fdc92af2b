/** Bounds of who may do what: credentials, roles, and what one identity may use. */
import { KiB, MiB } from './units.js';

/** The name of an identity: a SPIFFE ID is at most 2,048 bytes, but nobody reads such a one in a list. */
export const IDENTITY_CHARACTERS_MAX = 512;
/** Issued tokens, live and expired: a file of them is read whole at every change. */
export const TOKENS_MAX = 10_000;
/** Live tokens of one identity: the old and the new one of a rotation. */
export const TOKENS_PER_IDENTITY_MAX = 2;
export const TOKEN_DAYS_MAX = 3_650;
/** Files of tokens, roles and keys. */
export const TOKENS_BYTES_MAX = 4 * MiB;
export const ROLES_BYTES_MAX = 256 * KiB;
export const KEYS_BYTES_MAX = 256 * KiB;
/** Roles, bindings, and the names of one list of them. A role's nodes are part of what nodes are asked. */
export const ROLES_MAX = 256;
export const BINDINGS_MAX = 1_024;
export const ROLE_NAMES_MAX = 256;
/** Entries of revoked certificates, all of which each call by a certificate is held against. */
export const REVOKED_MAX = 1_024;
/** Groups of a web token that are looked at; those of large organisations have hundreds. */
export const JWT_GROUPS_MAX = 512;
/** How far the clocks of whoever issues web tokens and of this machine may be apart, in seconds. */
export const JWT_CLOCK_TOLERANCE_S = 30;
/** How long an answer with keys is waited for, and how long keys are used before they are asked for again. */
export const JWT_KEYS_TIMEOUT_MS = 5_000;
export const JWT_KEYS_AGE_MS = 600_000;
/** Identities whose rates are remembered; the one that was silent for longest begins anew. */
export const IDENTITY_RATES_MAX = 4_096;
