/**
 * Who changed what, when: an entry for each change, durable before the change
 * takes effect. What was refused is kept apart, as anybody can be refused as
 * often as they like: each second at most one entry per address, action and
 * reason, with a count, and only so many in all.
 */
import type { Logger } from 'pino';
import { BackplaneError, type ErrorCode } from '../../errors.js';
import { AUDIT_REFUSED_INTERVAL_MS, AUDIT_REFUSED_LINES_MAX, AUDIT_TEXT_CHARACTERS_MAX } from '../../limits.js';
import { systemErrorCode } from '../../storage/file-ops.js';
import { addressOf } from '../access/peer-address.js';
import type { AuditLog } from './audit-log.js';

type Action = 'set_budget' | 'forget_nodes';

export interface AuditEntry {
  readonly action: Action;
  /** Where it came from: the connection's own address. */
  readonly peer: string;
  readonly [fact: string]: unknown;
}

export interface Refused {
  readonly action: Action;
  readonly peer: string;
  /** What it was about, as it was asked. */
  readonly nodes: string;
  readonly code: ErrorCode;
  readonly refused: string;
}

interface Merged extends Refused {
  readonly time: string;
  /** How often this was refused within the interval; the texts are the first one's. */
  count: number;
}

/** Refusals that found no line of their own. */
const OTHERS = 'others';

export class AuditTrail {
  private readonly pending = new Map<string, Merged>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly changes: AuditLog,
    private readonly refusals: AuditLog,
    private readonly logger: Logger,
  ) {}

  /** Rejects with resource_exhausted when it cannot be written: what is not on record is not done. */
  async record(entry: AuditEntry): Promise<void> {
    try {
      await this.changes.append([{ time: now(), ...entry }]);
    } catch (cause) {
      const why = systemErrorCode(cause) ?? String(cause);
      const message = `${this.changes.place} cannot be written (${why}): nothing was changed`;
      throw new BackplaneError('resource_exhausted', message);
    }
    this.logger.info(entry, `${entry.action} by ${entry.peer}`);
  }

  /** Written within a second, with the others of its kind. */
  refuse(refusal: Refused): void {
    this.timer ??= setTimeout(() => void this.flush(), AUDIT_REFUSED_INTERVAL_MS);
    this.timer.unref();
    const address = addressOf(refusal.peer);
    const own = `${address} ${refusal.action} ${refusal.code}`;
    const full = this.pending.size >= AUDIT_REFUSED_LINES_MAX && !this.pending.has(own);
    const key = full ? OTHERS : own;
    const merged = this.pending.get(key);
    if (merged) merged.count++;
    else this.pending.set(key, { ...shortened(refusal), peer: full ? OTHERS : address, time: now(), count: 1 });
  }

  /** Resolves when what was refused is on record, as far as the disk takes it. */
  close(): Promise<void> {
    return this.flush();
  }

  private async flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const lines = [...this.pending.values()];
    this.pending.clear();
    if (lines.length === 0) return;
    for (const line of lines) {
      this.logger.info(line, `${line.action} by ${line.peer} refused, ${line.count} times: ${line.refused}`);
    }
    try {
      await this.refusals.append(lines);
    } catch (cause) {
      const why = systemErrorCode(cause) ?? String(cause);
      this.logger.warn(`${this.refusals.place} cannot be written (${why}): what was refused is only logged`);
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
