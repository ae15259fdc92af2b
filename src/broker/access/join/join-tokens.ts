/**
 * The join tokens that may still be used, as entries of a state of their own.
 *
 * join.ID -> { hash, nodes, endsMs }     SHA-256 of the secret in base64url; globs of nodes; milliseconds since 1970
 *
 * A used token has no entry any more. Of those who use one at once, the one whose deletion comes first wins, and its
 * deletion is durable before anything is signed.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import { joinTokenText, newJoinToken, parseJoinToken } from '../../../access/join-token.js';
import { asBackplaneError, BackplaneError, invalid } from '../../../errors.js';
import { JOIN_TOKEN_MS, JOIN_TOKENS_MAX, NODE_GLOBS_MAX } from '../../../limits.js';
import { compileNodeGlobs } from '../../../subscriptions/request/node-globs.js';
import type { SharedState } from '../../cluster/shared-state.js';

const PREFIX = 'join.';

const schema = z.object({
  hash: z.string().length(43),
  nodes: z.array(z.string()).min(1).max(NODE_GLOBS_MAX),
  endsMs: z.number().int().nonnegative(),
});

/** Throws for an entry that no broker wrote. */
export function checkJoinState(_key: string, value: unknown): void {
  compileNodeGlobs(schema.parse(value).nodes);
}

export class JoinTokens {
  readonly #state: SharedState;
  readonly #now: () => number;

  /** `now`: milliseconds since 1970. */
  constructor(state: SharedState, now: () => number = Date.now) {
    this.#state = state;
    this.#now = now;
  }

  /**
   * A token for one node that matches `nodes` (names or globs), whose authority has this pin. Resolves once it can be
   * used. Rejects with invalid_argument for what are no globs, resource_exhausted when too many tokens are unused.
   */
  async create(nodes: readonly string[], pin: string): Promise<{ readonly text: string; readonly endsMs: number }> {
    checkNodes(nodes);
    await this.#forgetLate();
    if (this.#state.entries(PREFIX).length >= JOIN_TOKENS_MAX) {
      const bound = `at most ${JOIN_TOKENS_MAX} join tokens can be unused at once`;
      throw new BackplaneError(
        'resource_exhausted',
        `${bound}: they end ${JOIN_TOKEN_MS / 60_000} minutes after they were made`,
      );
    }
    const token = newJoinToken(pin);
    const endsMs = this.#now() + JOIN_TOKEN_MS;
    await this.#state.put(PREFIX + token.id, { hash: hashOf(token.secret), nodes: [...nodes], endsMs }, 0);
    return { text: joinTokenText(token), endsMs };
  }

  /**
   * Whether the token can be used for the node now. Returns the function that uses it up; that rejects with
   * unauthenticated when somebody else was first.
   * @throws BackplaneError unauthenticated; permission_denied for a node that the token does not allow
   */
  check(text: string, node: string): () => Promise<void> {
    const token = parseJoinToken(text);
    const entry = token && this.#state.get(PREFIX + token.id);
    if (token === undefined || entry === undefined) throw unusable();
    const { hash, nodes, endsMs } = schema.parse(entry.value);
    if (!timingSafeEqual(Buffer.from(hash), Buffer.from(hashOf(token.secret))) || endsMs <= this.#now())
      throw unusable();
    if (!compileNodeGlobs(nodes).matches(node)) {
      throw new BackplaneError('permission_denied', `the join token is not for a node of the name ${node}`, {
        field: 'node',
      });
    }
    return async () => {
      try {
        await this.#state.delete(entry.key, entry.revision);
      } catch (cause) {
        throw asBackplaneError(cause).code === 'failed_precondition' ? unusable() : cause;
      }
    };
  }

  async #forgetLate(): Promise<void> {
    const late = this.#state.entries(PREFIX).filter(({ value }) => schema.parse(value).endsMs <= this.#now());
    await Promise.all(late.map(({ key }) => this.#state.delete(key)));
  }
}

/** @throws BackplaneError invalid_argument for none or too many, and for what are no globs */
export function checkNodes(nodes: readonly string[]): void {
  if (nodes.length === 0 || nodes.length > NODE_GLOBS_MAX)
    throw invalid('nodes', `must be 1 to ${NODE_GLOBS_MAX} names or globs, got ${nodes.length}`);
  compileNodeGlobs(nodes);
}

/** One answer for all, so that nobody learns which part of a guess was right. */
function unusable(): BackplaneError {
  const age = `${JOIN_TOKEN_MS / 60_000} minutes`;
  return new BackplaneError(
    'unauthenticated',
    `the join token is unknown, was used, or is older than ${age}: make another with "backplane certs join-token"`,
  );
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}
