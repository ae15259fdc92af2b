/**
 * Asks recorders for nothing from before a time, whatever the query says: cursors come from outside, so the positions
 * in them are only what somebody claims to have had.
 */
import type { ControlResponse } from '../../../wire/messages.js';
import type { HistoryAnswer } from '../../nodes/history/history-answer.js';
import type { HistoryRequest } from '../../nodes/history/history-request.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import type { NodeRoute } from '../../nodes/node-route.js';

export class FlooredRoute implements NodeRoute {
  readonly #route: NodeRoute;
  readonly #registry: NodeRegistry;
  readonly #floorNs: bigint;

  /** @param floorNs wall nanoseconds by the broker's clock */
  constructor({ route, registry }: { readonly route: NodeRoute; readonly registry: NodeRegistry }, floorNs: bigint) {
    this.#route = route;
    this.#registry = registry;
    this.#floorNs = floorNs;
  }

  reaches(node: string): boolean {
    return this.#route.reaches(node);
  }

  history(node: string, request: HistoryRequest): HistoryAnswer | undefined {
    const floorNs = this.#floorNs + (this.#registry.record(node)?.clockOffsetNs ?? 0n);
    const { sinceNs } = request;
    return this.#route.history(node, {
      ...request,
      sinceNs: sinceNs !== undefined && sinceNs > floorNs ? sinceNs : floorNs,
    });
  }

  tell(node: string, message: ControlResponse): void {
    this.#route.tell(node, message);
  }

  takeover(node: string): Promise<void> {
    return this.#route.takeover(node);
  }
}
