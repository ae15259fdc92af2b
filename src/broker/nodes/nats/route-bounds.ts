/** What bounds the answers that brokers give each other, in one place so that tests may have others. */
import { ROUTE_PING_MS } from '../../../limits.js';

export interface RouteBounds {
  /** How often a broker says of an answer that it reads it, and learns whether something of it was lost. */
  readonly pingMs: number;
}

export const ROUTE_BOUNDS: RouteBounds = { pingMs: ROUTE_PING_MS };
