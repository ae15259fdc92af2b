/**
 * Pages of other origins that the operator has named: these alone may read answers (CORS). Others are refused by
 * checkSite, before anything is done for them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** What pages may send beside what every page may. */
const HEADERS = 'authorization, content-type, last-event-id';
const PREFLIGHT_SECONDS = 600;

export class Origins {
  readonly #named: ReadonlySet<string>;

  /** `origins`: as browsers send them, scheme://host[:port]. */
  constructor(origins: readonly string[]) {
    this.#named = new Set(origins);
  }

  has(origin: string | undefined): boolean {
    return origin !== undefined && this.#named.has(origin);
  }

  /** Lets the browser show the answer to the page. */
  allow({ headers }: IncomingMessage, response: ServerResponse): void {
    if (this.#named.size === 0) return;
    response.setHeader('vary', 'Origin');
    if (!this.has(headers.origin)) return;
    response.setHeader('access-control-allow-origin', headers.origin!);
    response.setHeader('access-control-expose-headers', 'retry-after, www-authenticate');
  }

  /** Whether a browser asks on behalf of such a page what it may do; such a request has no credential. */
  isPreflight({ method, headers }: IncomingMessage): boolean {
    return method === 'OPTIONS' && this.has(headers.origin) && headers['access-control-request-method'] !== undefined;
  }

  answerPreflight(response: ServerResponse, methods: readonly string[]): void {
    response.writeHead(204, {
      'access-control-allow-methods': methods.join(', '),
      'access-control-allow-headers': HEADERS,
      'access-control-max-age': String(PREFLIGHT_SECONDS),
    });
    response.end();
  }
}
