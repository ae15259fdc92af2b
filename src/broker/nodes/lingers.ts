/**
 * How soon subscribers want live events, by node: the shortest time that any of them asks for. A node gathers events for
 * so long before it sends them; without such a wish, as its own settings say.
 */
import type { NodeRegistry } from './node-registry.js';
import type { NodeRoute } from './node-route.js';

interface Wish {
  readonly ms: number;
  readonly matches: (node: string) => boolean;
}

export class Lingers {
  readonly #wishes = new Set<Wish>();
  /** What nodes were told in their sessions: those that are not in it gather as long as their settings say. */
  readonly #told = new Map<string, { readonly session: string; readonly ms: number }>();

  readonly #registry: NodeRegistry;
  readonly #route: NodeRoute;

  constructor(registry: NodeRegistry, route: NodeRoute) {
    this.#registry = registry;
    this.#route = route;
    registry.listen((node) => this.#tell(node));
  }

  /** Returns a function that takes the wish back. */
  ask(ms: number, matches: (node: string) => boolean): () => void {
    const wish = { ms, matches };
    this.#wishes.add(wish);
    this.#tellAll(matches);
    return () => {
      if (this.#wishes.delete(wish)) this.#tellAll(matches);
    };
  }

  #tellAll(matches: (node: string) => boolean): void {
    for (const node of this.#registry.connected(matches)) this.#tell(node);
  }

  #tell(node: string): void {
    const session = this.#registry.session(node)?.id;
    const told = this.#told.get(node);
    if (session === undefined) {
      this.#told.delete(node);
      return;
    }
    let ms = Number.POSITIVE_INFINITY;
    for (const wish of this.#wishes) if (wish.ms < ms && wish.matches(node)) ms = wish.ms;
    if (!Number.isFinite(ms)) ms = 0;
    if (ms === (told?.session === session ? told.ms : 0)) return;
    this.#told.set(node, { session, ms });
    this.#route.tell(node, { linger: { lingerMs: ms } });
  }
}
