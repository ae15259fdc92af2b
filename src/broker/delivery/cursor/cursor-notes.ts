/**
 * When a cursor would have to name more nodes than fit, they are named by notes
 * in the log: a first note names them all, and further notes name those that
 * have changed since. A cursor carries the place of the newest note, and itself
 * names the few nodes that have changed since that one.
 *
 * A note is durable with the next sync of its log. If the machine fails before,
 * cursors that name the note are refused. Another record at its offset is never
 * taken for it, because a note also has a random identity.
 */
import { randomInt } from 'node:crypto';
import { cursorExpired, cursorInvalid } from '../../../errors.js';
import { CURSOR_NOTES_MAX, CURSOR_NOTES_RETRY_MS } from '../../../limits.js';
import { type CursorNode, decodeNote, encodeNote, type NotePlace } from '../../../wire/cursor.js';
import { isDiskTrouble } from '../../ingest/held-frames.js';
import type { PartitionLog } from '../../log/partition-log.js';

export class CursorNotes {
  /** Place of the newest note; undefined when there is none. */
  place: NotePlace | undefined;
  #oldestOffset = 0;
  #count = 0;
  #isLost = false;

  /** By partition. */
  readonly #logs: readonly PartitionLog[];
  /** Partition of the next note. */
  #next: number;
  readonly #now: () => number;
  /** None is tried before. */
  #freeMs = Number.NEGATIVE_INFINITY;

  /**
   * @param logs all of them, by partition
   * @param first the partition to begin with: those of all subscriptions are spread over all
   */
  constructor(logs: readonly PartitionLog[], first: number, now: () => number = () => performance.now()) {
    this.#logs = logs;
    this.#next = first;
    this.#now = now;
  }

  /** Whether the next note may name only what has changed: all notes before it still exist and are not too many. */
  get continued(): boolean {
    return this.place !== undefined && this.#count < CURSOR_NOTES_MAX && !this.gone;
  }

  /** Whether retention has removed a note that the newest one builds on, or its log has lost the newest. */
  get gone(): boolean {
    return this.place !== undefined && (this.#isLost || this.#oldestOffset < this.#logOf(this.place).firstOffset);
  }

  /** A partition's log has lost what it had from an offset on. */
  rewound(partition: number, offset: number): void {
    if (this.place?.partition === partition && this.place.offset >= offset) this.#isLost = true;
  }

  /** Resolves with false when the log takes no note at this moment; `place` is undefined then, and another log is tried later. */
  async write(nodes: readonly CursorNode[]): Promise<boolean> {
    if (this.#now() < this.#freeMs) return false;
    const before = this.continued ? this.place : undefined;
    const log = this.#logs[before?.partition ?? this.#next]!;
    const id = randomInt(2 ** 32);
    try {
      const offset = await log.appendNote(encodeNote({ id, before, nodes }));
      if (before === undefined) this.#oldestOffset = offset;
      this.#count = before === undefined ? 1 : this.#count + 1;
      this.place = { partition: log.partition, offset, id };
      this.#isLost = false;
      return true;
    } catch (cause) {
      if (!isDiskTrouble(cause)) throw cause;
      this.forget();
      // Each event waits for this: a log that takes nothing, for seconds, is not tried with each.
      this.#freeMs = this.#now() + CURSOR_NOTES_RETRY_MS;
      this.#next = (log.partition + 1) % this.#logs.length;
      return false;
    }
  }

  /** Cursors no longer use the notes from here on. */
  forget(): void {
    this.#isLost = false;
    this.place = undefined;
  }

  /** Resolves when the notes are as durable as frames are. */
  async settled(): Promise<void> {
    const log = this.place && this.#logOf(this.place);
    if (log?.isRemote !== true) await log?.settled();
  }

  #logOf({ partition }: NotePlace): PartitionLog {
    return this.#logs[partition]!;
  }
}

/**
 * Returns all nodes that a note and the notes before it name; a newer note
 * overrides an older one. Throws cursor_expired when retention has removed one
 * of them, cursor_invalid when the log has no such note.
 */
export async function readNotes(
  place: NotePlace | undefined,
  log: (partition: number) => PartitionLog,
): Promise<CursorNode[]> {
  const named = new Map<string, CursorNode>();
  let next = place;
  for (let count = 0; next !== undefined; count++) {
    const { partition, offset, id } = next;
    const from = log(partition);
    if (offset < from.firstOffset) {
      throw cursorExpired('cursor names nodes that the log no longer holds: begin with since');
    }
    const bytes = await from.readNote(offset);
    const note = bytes && decodeNote(bytes);
    if (note?.id !== id || count >= CURSOR_NOTES_MAX) {
      throw cursorInvalid('cursor names nodes that the log does not hold: begin with since');
    }
    for (const node of note.nodes) if (!named.has(node.node)) named.set(node.node, node);
    next = note.before;
  }
  return [...named.values()];
}
