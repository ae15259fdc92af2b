/** Identifies peers by what their connections tell. */
import { isLoopback } from './listen.js';

/**
 * The key that identifies a client: its address, or, on loopback where all share one address, its connection.
 */
export function clientOf(peer: string): string {
  const address = addressOf(peer).replace(/^::ffff:/, '');
  return isLoopback(address.replace(/^\[|\]$/g, '')) ? peer : address;
}

/** Strips the port from `1.2.3.4:5` or `[::1]:5`, so that all connections of a peer give the same address. */
export function addressOf(peer: string): string {
  const at = peer.lastIndexOf(':');
  return at < 0 ? peer : peer.slice(0, at);
}
