/** How nodes are reached, whichever broker has their sessions. */
import type { ControlResponse } from '../../wire/messages.js';
import type { HistoryAnswer } from './history/history-answer.js';
import type { HistoryRequest } from './history/history-request.js';

export interface NodeRoute {
  /** Whether the node is connected, as far as this broker knows: it may be gone by the time it is asked. */
  reaches(node: string): boolean;
  /**
   * Returns undefined when the node is not reached. The answer fails by itself when the node disconnects, or when the
   * query's turn does not come in time.
   */
  history(node: string, request: HistoryRequest): HistoryAnswer | undefined;
  /**
   * Tells the node what it may send from now on (a lease), or how soon. A node that is not reached is told in its next
   * session.
   */
  tell(node: string, message: ControlResponse): void;
  /**
   * Ends the node's session, because the node connects again. Resolves when it has ended, when there is none, and when
   * nothing is heard of it in time.
   */
  takeover(node: string): Promise<void>;
}
