/**
 * Which Host a request may name. A web page can have its own name resolve to
 * 127.0.0.1 and would then read this node's events from its visitor's browser
 * (DNS rebinding); the name in the header gives it away.
 */
import type { AddressInfo } from 'node:net';
import { BackplaneError } from '../../errors.js';
import { shown } from '../../subscriptions/shown.js';
import { isLoopback } from '../listen.js';

/** name or [address], and a port. */
const HOST = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]*))(?::\d*)?$/i;

/**
 * `listening` is the server's address(). Only listeners on loopback are held to
 * it: others are reached under names that are not known here.
 * @throws BackplaneError permission_denied
 */
export function checkHost(header: string | undefined, listening: AddressInfo | string | null): void {
  // Browsers always send one.
  if (header === undefined) return;
  if (listening === null || typeof listening === 'string' || !isLoopback(listening.address)) return;
  const match = HOST.exec(header);
  const host = match?.[1] ?? match?.[2] ?? '';
  if (isLoopback(host.toLowerCase())) return;
  throw new BackplaneError(
    'permission_denied',
    `Host must be localhost, 127.0.0.1 or [::1] where HTTP listens on loopback, got ${shown(header)}`,
  );
}
