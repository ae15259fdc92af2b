/**
 * Records who changed what and when. The entry for a change is durable before
 * the change takes effect. Refusals are kept in a separate file, because anybody
 * can cause any number of them: each second has at most one entry per address,
 * action and reason, with a count, and a bounded number of entries in total.
 */
import type { Logger } from 'pino';
import { BackplaneError, type ErrorCode } from '../../errors.js';
import { AUDIT_REFUSED_INTERVAL_MS, AUDIT_REFUSED_LINES_MAX, AUDIT_TEXT_CHARACTERS_MAX } from '../../limits.js';
import { systemErrorCode } from '../../storage/file-ops.js';
import { addressOf } from '../access/peer-address.js';
import type { AuditLog } from './audit-log.js';

type Action = 'set_budget' | 'forget_nodes' | 'join' | 'renew' | 'create_join_token';

export interface AuditEntry {
  readonly action: Action;
  /** The connection's own address. */
  readonly peer: string;
  readonly [fact: string]: unknown;
}

export interface Refused {
  readonly action: Action;
  readonly peer: string;
  /** The nodes as they were given in the request. */
  readonly nodes: string;
  readonly code: ErrorCode;
  readonly refused: string;
}

interface Merged extends Refused {
  readonly time: string;
  /** Number of such refusals within the interval; the texts are those of the first. */
  count: number;
}

/** Key and peer of the refusals that exceed the bound on entries. */
const OTHERS = 'others';

export class AuditTrail {
  readonly #pending = new Map<string, Merged>();
  #timer: NodeJS.Timeout | undefined;

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
    try {
      await this.#changes.append([{ time: now(), ...entry }]);
    } catch (cause) {
      const why = systemErrorCode(cause) ?? String(cause);
      const message = `${this.#changes.place} cannot be written (${why}): nothing was changed`;
      throw new BackplaneError('resource_exhausted', message);
    }
    this.#logger.info(entry, `${entry.action} by ${entry.peer}`);
  }

  /** Counts a refusal; it is written within a second, merged with others of its kind. */
  refuse(refusal: Refused): void {
    this.#timer ??= setTimeout(() => void this.#flush(), AUDIT_REFUSED_INTERVAL_MS);
    this.#timer.unref();
    const address = addressOf(refusal.peer);
    const own = `${address} ${refusal.action} ${refusal.code}`;
    const full = this.#pending.size >= AUDIT_REFUSED_LINES_MAX && !this.#pending.has(own);
    const key = full ? OTHERS : own;
    const merged = this.#pending.get(key);
    if (merged) merged.count++;
    else this.#pending.set(key, { ...shortened(refusal), peer: full ? OTHERS : address, time: now(), count: 1 });
  }

  /** Writes the pending refusals; resolves also when the disk refuses them. */
  close(): Promise<void> {
    return this.#flush();
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

function shortened({ nodes, refused, ...rest }: Refused): Refused {
  const bounded = (text: string) => text.slice(0, AUDIT_TEXT_CHARACTERS_MAX);
  return { ...rest, nodes: bounded(nodes), refused: bounded(refused) };
}

function now(): string {
  return new Date().toISOString();
}
