/**
 * What browsers say about where a request comes from. A web page can have its
 * own name resolve to 127.0.0.1 and would then read this node's events from its
 * visitor's browser (DNS rebinding): the name in Host gives it away. Or it
 * sends requests to 127.0.0.1, whose answers it cannot read, but whose work is
 * done: Sec-Fetch-Site, which no page can change, gives it away, and in older
 * browsers Origin does.
 */
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BackplaneError } from '../../errors.js';
import { shown } from '../../text/shown.js';
import { isLoopback } from '../access/listen.js';

/** Undefined, and thus allowed: not from a browser, or from one that does not say. */
const SITES: ReadonlySet<string | undefined> = new Set([undefined, 'same-origin', 'none']);

/** @throws BackplaneError permission_denied for what a page of another site has its visitor's browser ask. */
export function checkSite({ headers }: Pick<IncomingMessage, 'headers'>): void {
  const { host, origin } = headers;
  const site = headers['sec-fetch-site'];
  if (!SITES.has(site as string | undefined)) {
    throw new BackplaneError(
      'permission_denied',
      `Sec-Fetch-Site must be same-origin or none, got ${shown(String(site))}: pages of other sites are not served`,
    );
  }
  if (site !== undefined || origin === undefined || origin === `http://${host}` || origin === `https://${host}`) return;
  throw new BackplaneError(
    'permission_denied',
    `Origin must be that of this address, got ${shown(origin)}: pages of other sites are not served`,
  );
}

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
