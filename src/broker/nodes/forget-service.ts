/** Requests to forget nodes that are gone. Each is checked, then written to the audit trail, then carried out. */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { everyOne } from '../../flow/every-step.js';
import { NODE_GLOBS_MAX } from '../../limits.js';
import { compileNodeGlobs } from '../../subscriptions/request/node-globs.js';
import type { Caller } from '../access/gate.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import type { NodeRegistry } from './node-registry.js';

export class ForgetService {
  readonly #registry: NodeRegistry;
  readonly #trail: AuditTrail;
  readonly #everywhere: (node: string) => Promise<void>;

  /** @param everywhere has the other brokers forget it, too; rejects where that cannot be written */
  constructor(
    registry: NodeRegistry,
    trail: AuditTrail,
    everywhere: (node: string) => Promise<void> = async () => undefined,
  ) {
    this.#registry = registry;
    this.#trail = trail;
    this.#everywhere = everywhere;
  }

  /**
   * `globs` are names or globs; nodes that `may` refuses count as unknown. Resolves with the forgotten nodes. Rejects with invalid_argument for no globs or too
   * many, failed_precondition when all matching nodes are connected, not_found when no known node matches, and
   * resource_exhausted when the audit trail cannot be written.
   */
  async forget(globs: readonly string[], caller: Caller, may: (node: string) => boolean): Promise<readonly string[]> {
    const nodes = this.#check(globs, caller, may);
    const { peer, identity } = caller;
    await this.#trail.record({ action: 'forget_nodes', peer, identity, nodes });
    // A node that reconnected during the write stays known: its record is in use.
    const gone = nodes.filter((node) => this.#registry.record(node)?.connection === undefined);
    await everyOne(gone.map((node) => this.#everywhere(node)));
    this.#registry.forget(gone.filter((node) => this.#registry.record(node)?.connection === undefined));
    return gone;
  }

  #check(globs: readonly string[], caller: Caller, may: (node: string) => boolean): string[] {
    try {
      return this.#gone(globs, may);
    } catch (cause) {
      const { code, message } = asBackplaneError(cause);
      this.#trail.refuse({ action: 'forget_nodes', ...caller, nodes: globs.join(' '), code, refused: message });
      throw cause;
    }
  }

  #gone(globs: readonly string[], may: (node: string) => boolean): string[] {
    if (globs.length === 0 || globs.length > NODE_GLOBS_MAX) {
      const bound = `1 to ${NODE_GLOBS_MAX} names or globs`;
      throw new BackplaneError('invalid_argument', `nodes must be ${bound}, got ${globs.length}`, { field: 'nodes' });
    }
    const { matches } = compileNodeGlobs(globs);
    const known = [...this.#registry.all()].filter(({ name }) => matches(name) && may(name));
    const gone = known.filter(({ connection }) => connection === undefined).map(({ name }) => name);
    const asked = globs.join(', ').slice(0, 200);
    if (known.length === 0) {
      throw new BackplaneError('not_found', `no known node matches ${asked}`, { field: 'nodes' });
    }
    if (gone.length > 0) return gone;
    const message = `${asked} is connected and would be listed again at once: stop its agent first`;
    throw new BackplaneError('failed_precondition', message);
  }
}
