/** The entries of a state as its stream told them: each key's latest message. */
import { BackplaneError } from '../../../errors.js';
import { SHARED_STATE_BYTES_MAX, STATE_DELETION_KEPT_MS, STATE_ENTRIES_MAX } from '../../../limits.js';
import { nsToMs } from '../../../nanoseconds.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import type { StateValue } from '../shared-state.js';
import { type MessageHead, readHead } from './guarded-publish.js';
import { keyOfSubject } from './state-subject.js';

/** What every entry takes in memory besides its text. */
const ENTRY_BYTES = 256;

export interface Slot extends MessageHead {
  readonly key: string;
  readonly revision: number;
  /** By the server's clock. */
  readonly timeMs: number;
  /** Undefined: it was deleted, or is not what a broker of this version writes. */
  readonly value: StateValue | undefined;
  readonly bytes: number;
}

export class StateContents {
  readonly slots = new Map<string, Slot>();
  /** Sequence of the message that was read last, and the latest time of any, by the server's clock. */
  sequence = 0;
  newestMs = 0;
  /** Revision of the latest change. */
  revision = 0;
  #bytes = 0;

  readonly #prefix: string;
  readonly #check: (key: string, value: unknown) => void;

  /** `check` throws for what no broker writes. */
  constructor(prefix: string, check: (key: string, value: unknown) => void) {
    this.#prefix = prefix;
    this.#check = check;
  }

  /** Takes the next message. Returns what it changed; undefined for a tick. @throws BackplaneError resource_exhausted */
  take(message: StoredMessage): Slot | undefined {
    this.sequence = message.sequence;
    this.newestMs = Math.max(this.newestMs, nsToMs(message.timeNs));
    const key = keyOfSubject(this.#prefix, message.subject);
    if (key === undefined) return undefined;
    const slot = this.#slotOf(key, message);
    this.#bytes += slot.bytes - (this.slots.get(key)?.bytes ?? 0);
    this.slots.set(key, slot);
    this.revision = slot.revision;
    if (this.slots.size > STATE_ENTRIES_MAX || this.#bytes > SHARED_STATE_BYTES_MAX) throw tooMuch();
    return slot;
  }

  /** @throws BackplaneError resource_exhausted when there is no room for one more entry of so many bytes */
  checkRoom(key: string, bytes: number): void {
    if (this.slots.has(key) && bytes <= this.slots.get(key)!.bytes) return;
    if (this.slots.size >= STATE_ENTRIES_MAX || this.#bytes + bytes + ENTRY_BYTES > SHARED_STATE_BYTES_MAX)
      throw tooMuch();
  }

  /** Deletions that everybody has read long ago. */
  oldDeletions(): Slot[] {
    const before = this.newestMs - STATE_DELETION_KEPT_MS;
    return [...this.slots.values()].filter(({ deleted, timeMs }) => deleted && timeMs < before);
  }

  forget(slot: Slot): void {
    if (this.slots.get(slot.key) !== slot) return;
    this.slots.delete(slot.key);
    this.#bytes -= slot.bytes;
  }

  #slotOf(key: string, { sequence: revision, timeNs, data, headers }: StoredMessage): Slot {
    const common = {
      ...readHead(headers),
      key,
      revision,
      timeMs: nsToMs(timeNs),
      bytes: data.length + key.length + ENTRY_BYTES,
    };
    if (common.deleted) return { ...common, value: undefined };
    try {
      const value: unknown = JSON.parse(Buffer.from(data).toString('utf8'));
      if (typeof value !== 'object' || value === null) throw new Error('no object');
      this.#check(key, value);
      return { ...common, value: value as StateValue };
    } catch {
      return { ...common, value: undefined };
    }
  }
}

/** Whether a broker wrote it, of another version: what anybody else wrote counts as nothing. */
export function isUnreadable({ value, deleted, ids }: Slot): boolean {
  return value === undefined && !deleted && ids.length > 0;
}

/**
 * Why what was read now cannot follow what was read before: the stream lost changes that it had told. Undefined where it
 * can. Lost changes are seen by their absence, so `now` must have been read from the stream's beginning.
 * @param lastSequence of the stream when that began
 */
export function regression(before: StateContents, now: StateContents, lastSequence: number): string | undefined {
  if (lastSequence < before.sequence) return `its last message is ${lastSequence}, and was ${before.sequence}`;
  const forgetful = now.newestMs - before.newestMs >= STATE_DELETION_KEPT_MS;
  for (const [key, { revision, ids, deleted }] of before.slots) {
    const later = now.slots.get(key);
    // A deletion that was forgotten meanwhile leaves nothing either.
    if (later === undefined && (deleted || forgetful)) continue;
    if (later === undefined) return `${key} is not in it, and had the revision ${revision}`;
    if (later.revision < revision) return `${key} has the revision ${later.revision}, and had ${revision}`;
    if (later.revision === revision && later.ids[0] !== ids[0])
      return `revision ${revision} is another change of ${key}`;
  }
  return undefined;
}

function tooMuch(): BackplaneError {
  const bounds = `${STATE_ENTRIES_MAX} entries of ${SHARED_STATE_BYTES_MAX} bytes together`;
  return new BackplaneError(
    'resource_exhausted',
    `the shared state must have at most ${bounds}: forget nodes that are gone`,
  );
}
