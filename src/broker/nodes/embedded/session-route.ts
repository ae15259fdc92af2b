/** All nodes are connected to this process. */
import type { ControlResponse } from '../../../wire/messages.js';
import type { HistoryAnswer } from '../history/history-answer.js';
import type { HistoryRequest } from '../history/history-request.js';
import type { NodeRegistry } from '../node-registry.js';
import type { NodeRoute } from '../node-route.js';

export class SessionRoute implements NodeRoute {
  readonly #registry: NodeRegistry;

  constructor(registry: NodeRegistry) {
    this.#registry = registry;
  }

  reaches(node: string): boolean {
    return this.#registry.session(node) !== undefined;
  }

  history(node: string, request: HistoryRequest): HistoryAnswer | undefined {
    return this.#registry.session(node)?.history.query(request);
  }

  tell(node: string, message: ControlResponse): void {
    this.#registry.session(node)?.send(message);
  }

  async takeover(node: string): Promise<void> {
    this.#registry.session(node)?.close('the same recorder connected again');
  }
}
