/** What bounds the answers that brokers give each other, in one place so that tests may have others. */
import { HISTORY_PLACE_MS, ROUTE_OUTSTANDING_BYTES_MAX, ROUTE_PING_MS } from '../../../limits.js';

export interface RouteBounds {
  /**
   * How often a broker says of an answer that it reads it, and learns whether something of it was lost; and how often both
   * sides look which answers are not read.
   */
  readonly pingMs: number;
  /** What may be on its way to a broker, or from it, over all answers. */
  readonly outstandingBytesMax: number;
  /** An answer that is not read for so long yields its share of that to those that wait. */
  readonly unreadMs: number;
}

export const ROUTE_BOUNDS: RouteBounds = {
  pingMs: ROUTE_PING_MS,
  outstandingBytesMax: ROUTE_OUTSTANDING_BYTES_MAX,
  unreadMs: HISTORY_PLACE_MS,
};
