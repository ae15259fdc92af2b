/**
 * Checks of where a browser's request comes from. A web page can let its own name
 * resolve to 127.0.0.1 and then read this node's events through its visitor's
 * browser (DNS rebinding): the name in Host reveals that. A page can also send
 * requests to 127.0.0.1 whose answers it cannot read, but which have effects:
 * Sec-Fetch-Site, which no page can change, reveals that, and in older browsers
 * Origin does.
 */
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BackplaneError } from '../../errors.js';
import { shown } from '../../text/shown.js';
import { isLoopback } from '../access/listen.js';
import type { Origins } from './origins.js';

/** Allowed values. Undefined is allowed: the request is not from a browser, or from one that does not send it. */
const SITES: ReadonlySet<string | undefined> = new Set([undefined, 'same-origin', 'none']);

/** @throws BackplaneError permission_denied for a request that a page of another site caused, unless it is one of `allowed`. */
export function checkSite(request: Pick<IncomingMessage, 'headers'>, allowed: Origins): void {
  const { headers } = request;
  const { origin } = headers;
  const host = hostOf(request);
  if (allowed.has(origin)) return;
  const site = headers['sec-fetch-site'];
  if (!SITES.has(site as string | undefined)) {
    throw new BackplaneError(
      'permission_denied',
      `Sec-Fetch-Site must be same-origin or none, got ${shown(String(site))}: pages of other sites are served only where http.origins names them`,
      { field: 'Sec-Fetch-Site' },
    );
  }
  if (site !== undefined || origin === undefined || origin === `http://${host}` || origin === `https://${host}`) return;
  throw new BackplaneError(
    'permission_denied',
    `Origin must be that of this address, got ${shown(origin)}: pages of other sites are served only where http.origins names them`,
    { field: 'Origin' },
  );
}

/** The host that was asked for; HTTP/2 has a field of its own for it. Throws invalid_argument where both say another. */
export function hostOf({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  const { host } = headers;
  const authority = headers[':authority'] as string | undefined;
  if (host !== undefined && authority !== undefined && host !== authority)
    throw new BackplaneError('invalid_argument', 'Host must be what :authority says', { field: 'Host' });
  return authority ?? host;
}

/** A name or [address], with an optional port. */
const HOST = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]*))(?::\d*)?$/i;

/**
 * `listening` is the server's address(). Only loopback listeners are checked,
 * because others are reached under names that are not known here.
 * @throws BackplaneError permission_denied
 */
export function checkHost(header: string | undefined, listening: AddressInfo | string | null): void {
  // Browsers always send Host, so a request without it is not from one.
  if (header === undefined) return;
  if (listening === null || typeof listening === 'string' || !isLoopback(listening.address)) return;
  const match = HOST.exec(header);
  const host = match?.[1] ?? match?.[2] ?? '';
  if (isLoopback(host.toLowerCase())) return;
  throw new BackplaneError(
    'permission_denied',
    `Host must be localhost, 127.0.0.1 or [::1] where HTTP listens on loopback, got ${shown(header)}`,
    { field: 'Host' },
  );
}
