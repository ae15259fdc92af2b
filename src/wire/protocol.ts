/** The version of the protocol between agents and brokers (uplink.proto), which each says in its first message. */
import { BackplaneError } from '../errors.js';

/** Raised by every change after which an older agent or broker would misread the other. Before 2 nobody said one. */
export const PROTOCOL = 2;

/** Throws failed_precondition unless the other side speaks exactly this version. `other`: who that is, for people. */
export function checkProtocol(other: string, protocol: number): void {
  if (protocol === PROTOCOL) return;
  const theirs = protocol === 0 ? 'one before 2' : String(protocol);
  throw new BackplaneError(
    'failed_precondition',
    `${other} speaks protocol version ${theirs}, this side version ${PROTOCOL}: upgrade both to the same version of Backplane`,
  );
}
