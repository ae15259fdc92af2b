/**
 * Records who asked for what, who changed what, and what was refused. The entry for a change is durable before the
 * change takes effect, that of a subscription before its first event; entries that come together share one sync.
 * Refusals have a share of the log, because anybody can cause any number of them: each second has at most one entry
 * per address, identity, action and reason, with a count, and a bounded number of entries in total.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { BackplaneError, type ErrorCode } from '../../errors.js';
import {
  AUDIT_ENTRIES_MAX,
  AUDIT_REFUSED_INTERVAL_MS,
  AUDIT_REFUSED_LINES_MAX,
  AUDIT_TEXT_CHARACTERS_MAX,
} from '../../limits.js';
import { systemErrorCode } from '../../storage/file-ops.js';
import type { Identity } from '../access/gate.js';
import { addressOf } from '../access/peer-address.js';
import type { AuditLog } from './audit-log.js';

/** A change of what the broker or its nodes do. */
type Change =
  | 'set_budget'
  | 'forget_nodes'
  | 'retire'
  | 'reset_group'
  | 'set_group_filter'
  | 'delete_group'
  | 'reload'
  | 'create_join_token'
  | 'join'
  | 'renew';
/** What was read. */
type Reading = 'subscribe' | 'history';

export interface AuditEntry {
  readonly action: Change | Reading;
  /** The connection's own address; empty for what the broker does by itself. */
  readonly peer: string;
  readonly identity?: Identity | undefined;
  readonly [fact: string]: unknown;
}

export interface Refused {
  /** What was wished: an action, a verb of roles, or `authenticate`. */
  readonly action: string;
  readonly peer: string;
  readonly identity?: Identity | undefined;
  /** The nodes as they were given in the request. */
  readonly nodes?: string | undefined;
  /** Refusals of one code are told apart by it, where there is one. */
  readonly reason?: string | undefined;
  readonly code: ErrorCode;
  readonly refused: string;
}

interface Merged {
  readonly peer: string;
  /** Number of such refusals within the interval; the texts are those of the first. */
  count: number;
  readonly [fact: string]: unknown;
}

interface Waiting {
  readonly line: object;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
}

/** Key and peer of the refusals that exceed the bound on entries. */
const OTHERS = 'others';

export class AuditTrail {
  /** Entries that could not be written, and refusals beyond the bound on their lines; the log counts what it refuses. */
  dropped = 0;
  readonly #pending = new Map<string, Merged>();
  #timer: NodeJS.Timeout | undefined;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  readonly #changes: AuditLog;
  readonly #refusals: AuditLog;
  readonly #logger: Logger;

  constructor(changes: AuditLog, refusals: AuditLog, logger: Logger) {
    this.#changes = changes;
    this.#refusals = refusals;
    this.#logger = logger;
  }

  /** Rejects with resource_exhausted when the entry cannot be written: the change must then not be made. */
  async record(entry: AuditEntry): Promise<void> {
    await this.#write(entry, 'nothing was changed');
    this.#logger.info(shownEntry(entry), `${entry.action} by ${entry.peer || 'the broker'}`);
  }

  /**
   * Resolves when it is on record that somebody reads. Rejects with resource_exhausted when that cannot be written:
   * nothing must then be told. The holder of the broker's own token may read all the same, because the data directory is
   * theirs, and a full disk must not make an operator blind.
   */
  async recordReading(entry: AuditEntry): Promise<void> {
    try {
      await this.#write(entry, 'nothing is told');
    } catch (cause) {
      if (entry.identity?.kind !== 'local' && entry.identity?.kind !== 'anonymous') throw cause;
      this.dropped++;
      this.#logger.warn(shownEntry(entry), `not on record: ${(cause as Error).message}`);
    }
  }

  /** Writes an entry for which nobody waits. */
  note(entry: AuditEntry): void {
    this.#write(entry, 'this is only logged').catch((cause: Error) => {
      this.dropped++;
      this.#logger.warn(shownEntry(entry), cause.message);
    });
  }

  /** Counts a refusal; it is written within a second, merged with others of its kind. */
  refuse(refusal: Refused): void {
    this.#timer ??= setTimeout(() => void this.#flush(), AUDIT_REFUSED_INTERVAL_MS);
    this.#timer.unref();
    const address = addressOf(refusal.peer);
    const { action, code, reason = '', identity } = refusal;
    const own = [address, action, code, reason, identity?.kind ?? '', identity?.name ?? ''].join(' ');
    const full = this.#pending.size >= AUDIT_REFUSED_LINES_MAX && !this.#pending.has(own);
    const key = full ? OTHERS : own;
    const merged = this.#pending.get(key);
    if (full) this.dropped++;
    if (merged) merged.count++;
    else this.#pending.set(key, { ...shortened(refusal), peer: full ? OTHERS : address, time: now(), count: 1 });
  }

  /** Writes what waits; resolves also when the disk refuses it. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#flush();
  }

  async #write(entry: AuditEntry, consequence: string): Promise<void> {
    if (this.#waiting.length >= AUDIT_ENTRIES_MAX) {
      const message = `${this.#changes.place}: ${AUDIT_ENTRIES_MAX} entries wait to be written: ${consequence}`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: AUDIT_REFUSED_INTERVAL_MS });
    }
    const line = { time: now(), ...shownEntry(entry) };
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push({ line, resolve, reject });
        this.#writing ??= this.#writeAll();
      });
    } catch (cause) {
      const why = cause instanceof BackplaneError ? cause.message : (systemErrorCode(cause) ?? String(cause));
      throw new BackplaneError(
        'resource_exhausted',
        `${this.#changes.place} cannot be written (${why}): ${consequence}`,
      );
    }
  }

  /** What comes during a write is written together with the next one. */
  async #writeAll(): Promise<void> {
    // Who asks in the same turn of the loop shares the sync.
    await turn();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#changes.append(batch.map(({ line }) => line));
        for (const { resolve } of batch) resolve();
      } catch (cause) {
        for (const { reject } of batch) reject(cause);
      }
    }
    this.#writing = undefined;
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = [...this.#pending.values()];
    this.#pending.clear();
    if (lines.length === 0) return;
    for (const line of lines) {
      this.#logger.info(line, `${line.action} by ${line.peer} refused, ${line.count} times: ${line.refused}`);
    }
    try {
      await this.#refusals.append(lines);
    } catch (cause) {
      const why = systemErrorCode(cause) ?? String(cause);
      this.#logger.warn(`${this.#refusals.place} cannot be written (${why}): what was refused is only logged`);
    }
  }
}

/** The identity as two texts: never its groups, or what its token hashes to. */
function shownEntry<T extends { readonly identity?: Identity | undefined }>({ identity, ...entry }: T): object {
  return identity === undefined ? entry : { ...entry, identity: identity.name, kind: identity.kind };
}

function shortened({ nodes, refused, reason, ...rest }: Refused): { readonly [fact: string]: unknown } {
  const bounded = (text: string) => text.slice(0, AUDIT_TEXT_CHARACTERS_MAX);
  const given = nodes === undefined ? {} : { nodes: bounded(nodes) };
  const why = reason === undefined ? {} : { reason };
  return { ...shownEntry(rest), ...given, ...why, refused: bounded(refused) };
}

function now(): string {
  return new Date().toISOString();
}
