/**
 * Certificates that no longer count although they have not ended, as the file of roles says it:
 *
 *   revoked:
 *     - { serial: "4f1c…" }                                 one certificate, by its serial number in hex
 *     - { identity: alice }                                 all of an identity; names or globs
 *     - { identity: spiffe://backplane/node/web-1, before: 2026-01-31T12:00:00Z }    those made before a time
 *
 * Whoever has a node's key may have renewed its certificate since, so that its serial number says little. `before` covers
 * all that came of it, and lets the node itself join again.
 */
import * as z from 'zod';
import type { CertificateFacts } from '../../access/certificate-identity.js';
import { CERTIFICATE_EARLY_MS, IDENTITY_CHARACTERS_MAX, REVOKED_MAX } from '../../limits.js';
import { nsToMs } from '../../nanoseconds.js';
import { compileGlobs } from '../../subscriptions/request/node-globs.js';
import { parseTimestamp } from '../../text/time-text.js';
import type { Identity } from './gate.js';

export interface Revoked {
  readonly covers: (name: string, certificate: CertificateFacts) => boolean;
}

const entryForm = z
  .strictObject({
    serial: z
      .string({ error: 'must be text: put the number in quotes' })
      .regex(/^[0-9A-Fa-f:]{1,64}$/, 'must be a serial number in hex, as "openssl x509 -serial" shows it')
      .optional(),
    identity: z.string().min(1).max(IDENTITY_CHARACTERS_MAX).optional(),
    before: z
      .string()
      .refine((text) => parseTimestamp(text) !== undefined, 'must be a time such as "2026-01-31T12:00:00Z"')
      .optional(),
  })
  .refine(({ serial, identity }) => (serial === undefined) !== (identity === undefined), 'must have serial or identity')
  .refine(({ serial, before }) => serial === undefined || before === undefined, 'must have before with identity only');

export const revokedForm = z.array(entryForm).max(REVOKED_MAX, `must be at most ${REVOKED_MAX}`);

export function compileRevoked({ serial, identity, before }: z.output<typeof entryForm>): Revoked {
  if (serial !== undefined) {
    const plain = plainSerial(serial);
    return { covers: (_name, certificate) => plainSerial(certificate.serial) === plain };
  }
  const matches = compileGlobs([identity ?? '']);
  const beforeMs = before === undefined ? undefined : nsToMs(parseTimestamp(before)!);
  return {
    covers: (name, { beginsMs }) => {
      if (!matches(name)) return false;
      // Certificates begin a little before they are made.
      return beforeMs === undefined || beginsMs + CERTIFICATE_EARLY_MS < beforeMs;
    },
  };
}

/** Whether an identity stands on a certificate that no longer counts. */
export function isRevoked(revoked: readonly Revoked[], { name, certificate }: Identity): boolean {
  return certificate !== undefined && revoked.some(({ covers }) => covers(name, certificate));
}

/** Programs write it with colons, in small letters or with leading zeros. */
function plainSerial(text: string): string {
  return text.replaceAll(':', '').replace(/^0+/, '').toUpperCase();
}
