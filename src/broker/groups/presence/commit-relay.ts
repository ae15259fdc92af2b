/**
 * Commits that come to one broker for slices whose member is connected to another: only that one knows what the member was
 * given. Behind a load balancer calls and streams go to any broker.
 *
 *   bp.CLUSTER.commit.BROKER   { group, slices: SliceCommit[] }  ->  {} or { code, message, field }
 */
import type { Msg, NatsConnection } from 'nats';
import * as z from 'zod';
import { asBackplaneError, BackplaneError, isErrorCode } from '../../../errors.js';
import {
  CURSOR_BYTES_MAX,
  GROUP_CURSOR_MARK_CHARACTERS_MAX,
  GROUP_EPOCH_MAX,
  GROUP_NAME_CHARACTERS_MAX,
  GROUP_RELAY_MS,
  GROUP_RELAYED_MAX,
  GROUP_SLICES_MAX,
  RETRY_AFTER_MS,
} from '../../../limits.js';
import type { SliceCommit } from '../slice-commits.js';

/** Resolves when all of it is durable. Rejects as SliceCommits does. */
export type TakeCommit = (group: string, slices: readonly SliceCommit[]) => Promise<void>;

const whole = z.number().int().nonnegative();
const slice = z.object({
  ...{ slice: whole.max(GROUP_SLICES_MAX - 1), epoch: whole.max(GROUP_EPOCH_MAX + GROUP_SLICES_MAX) },
  cursor: z.string().max(CURSOR_BYTES_MAX + GROUP_CURSOR_MARK_CHARACTERS_MAX),
});
const asked = z.object({
  group: z.string().max(GROUP_NAME_CHARACTERS_MAX),
  slices: z.array(slice).min(1).max(GROUP_SLICES_MAX),
});
const answered = z.object({
  code: z.string().optional(),
  message: z.string().optional(),
  field: z.string().optional(),
});

export interface CommitRelayOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  /** This broker's name. */
  readonly broker: string;
}

export class CommitRelay {
  readonly #options: CommitRelayOptions;
  readonly #ends: (() => void)[] = [];
  /** Commits of other brokers that are being made here. */
  #taken = 0;

  constructor(options: CommitRelayOptions) {
    this.#options = options;
  }

  /** Makes commits that come to other brokers for this one's members. */
  serve(take: TakeCommit): void {
    const { connection, broker } = this.#options;
    const callback = (_error: Error | null, message: Msg) => void this.#take(message, take);
    const subscription = connection.subscribe(this.#subject(broker), { callback });
    this.#ends.push(() => subscription.unsubscribe());
  }

  close(): void {
    for (const end of this.#ends.splice(0)) end();
  }

  /** Resolves when it is durable. Rejects with what that broker refuses it with, and unavailable where it cannot be asked. */
  async send(broker: string, group: string, slices: readonly SliceCommit[]): Promise<void> {
    const { connection } = this.#options;
    if (connection.info === undefined) throw unreached('there is no connection to NATS');
    const request = JSON.stringify({ group, slices });
    const reply = await connection
      .request(this.#subject(broker), request, { timeout: GROUP_RELAY_MS })
      .catch((cause) => {
        throw unreached((cause as Error).message);
      });
    const { code, message = '', field } = answered.parse(JSON.parse(reply.string()));
    if (code !== undefined) throw new BackplaneError(isErrorCode(code) ? code : 'internal', message, { field });
  }

  async #take(message: Msg, take: TakeCommit): Promise<void> {
    let answer: z.infer<typeof answered> = {};
    this.#taken++;
    try {
      if (this.#taken > GROUP_RELAYED_MAX) throw unreached(`it makes at most ${GROUP_RELAYED_MAX} at once for others`);
      const { group, slices } = asked.parse(JSON.parse(message.string()));
      await take(group, slices);
    } catch (cause) {
      const { code, message: text, details } = asBackplaneError(cause);
      answer = { code, message: text, field: details.field };
    } finally {
      this.#taken--;
    }
    const { connection } = this.#options;
    // A commit may take longer than the broker lives: on a closed connection the answer would be an error.
    if (connection.info !== undefined && !connection.isClosed()) message.respond(JSON.stringify(answer));
  }

  #subject(broker: string): string {
    return `bp.${this.#options.cluster}.commit.${broker}`;
  }
}

function unreached(reason: string): BackplaneError {
  const message = `the broker of the member's stream did not confirm the commit, it may or may not be done: ${reason}`;
  return new BackplaneError('unavailable', message, { retryAfterMs: RETRY_AFTER_MS });
}
