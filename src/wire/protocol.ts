/** What agents and brokers say of themselves in their first messages (uplink.proto), so that none misreads the other. */
import { BackplaneError } from '../errors.js';
import { shown } from '../text/shown.js';

/**
 * The version of the protocol. Raised by a change after which an older agent or broker would misread the other, which
 * only a new major version of Backplane may make. Before 2 nobody said one.
 */
export const PROTOCOL = 2;

/** Metadata key under which commands say their version with each call. */
export const VERSION_KEY = 'backplane-version';

/** Of those who say none: brokers of 0.1 before they said one to agents. */
const UNSAID = '0.1';
const VERSION = /^(\d+)\.(\d+)(?:[.+-][\w.+-]{1,60})?$/;

/** Throws failed_precondition unless the other side speaks exactly this version. `other`: who that is, for people. */
export function checkProtocol(other: string, protocol: number): void {
  if (protocol === PROTOCOL) return;
  const theirs = protocol === 0 ? 'one before 2' : String(protocol);
  throw new BackplaneError(
    'failed_precondition',
    `${other} speaks protocol version ${theirs}, this side version ${PROTOCOL}: upgrade both to the same version of Backplane`,
  );
}

/**
 * Throws failed_precondition, in one sentence that names both, unless two versions of Backplane (MAJOR.MINOR.PATCH) work
 * together: of one major version, their minor versions at most one apart.
 * @param other who is of the version `theirs`, for people
 * @param own the same of `ours`
 */
export function checkVersions(other: string, theirs: string, ours: string, own = 'this side'): void {
  const [their = '', our = ''] = [theirs, ours].map((version) => version || UNSAID);
  const [a, b] = [their, our].map((version) => VERSION.exec(version));
  if (a && b && a[1] === b[1] && Math.abs(Number(a[2]) - Number(b[2])) <= 1) return;
  throw new BackplaneError(
    'failed_precondition',
    `${other} is of version ${a ? their : shown(their)}, ${own} of ${our}: ` +
      'only versions that are at most one minor version apart work together',
  );
}
