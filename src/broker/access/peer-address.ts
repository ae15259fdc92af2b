/** Who is at the other end, as far as a connection tells. */
import { isLoopback } from './listen.js';

/**
 * Who counts as one client: an address, and on this machine, where all have the same, a connection.
 */
export function clientOf(peer: string): string {
  const address = addressOf(peer).replace(/^::ffff:/, '');
  return isLoopback(address.replace(/^\[|\]$/g, '')) ? peer : address;
}

/** The address without the port, of `1.2.3.4:5` or `[::1]:5`: another connection of the same peer has the same. */
export function addressOf(peer: string): string {
  const at = peer.lastIndexOf(':');
  return at < 0 ? peer : peer.slice(0, at);
}
