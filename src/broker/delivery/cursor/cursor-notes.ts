/**
 * Where more nodes stand apart than a cursor can name, they are named by notes
 * in the log: one that names them all, then ones that name what has changed
 * since. A cursor carries the place of the newest, and names the few nodes that
 * have changed since that one itself.
 *
 * A note is durable with the next sync of its log. Should the machine fail
 * before, the cursors that name it are refused, and never misread: a note has
 * an identity beside its offset.
 */
import { randomInt } from 'node:crypto';
import { BackplaneError } from '../../../errors.js';
import { CURSOR_NOTES_MAX } from '../../../limits.js';
import { type CursorNode, decodeNote, encodeNote, type NotePlace } from '../../../wire/cursor.js';
import { isDiskTrouble } from '../../ingest/held-frames.js';
import type { PartitionLog } from '../../log/partition-log.js';

export class CursorNotes {
  /** The newest. */
  place: NotePlace | undefined;
  private oldestOffset = 0;
  private count = 0;

  constructor(private readonly log: PartitionLog) {}

  /** Whether the next note may name what has changed only: the notes before it are all there, and not too many. */
  get continued(): boolean {
    return this.place !== undefined && this.count < CURSOR_NOTES_MAX && !this.gone;
  }

  /** Retention has removed what the newest note builds on. */
  get gone(): boolean {
    return this.place !== undefined && this.oldestOffset < this.log.firstOffset;
  }

  /** Resolves with false when the disk takes nothing at this moment: then there is no place. */
  async write(nodes: readonly CursorNode[]): Promise<boolean> {
    const before = this.continued ? this.place : undefined;
    const id = randomInt(2 ** 32);
    try {
      const offset = await this.log.appendNote(encodeNote({ id, before, nodes }));
      if (before === undefined) this.oldestOffset = offset;
      this.count = before === undefined ? 1 : this.count + 1;
      this.place = { partition: this.log.partition, offset, id };
      return true;
    } catch (cause) {
      if (!isDiskTrouble(cause)) throw cause;
      this.forget();
      return false;
    }
  }

  /** The next cursors do without. */
  forget(): void {
    this.place = undefined;
  }

  /** Resolves when what was written is as durable as frames are. */
  async settled(): Promise<void> {
    if (this.place !== undefined) await this.log.settled();
  }
}

/**
 * All nodes that a note and those before it name. Throws cursor_expired when
 * retention has removed one, cursor_invalid when there never was such a note.
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
      throw new BackplaneError('cursor_expired', 'cursor names nodes that the log no longer holds: begin with since');
    }
    const bytes = await from.readNote(offset);
    const note = bytes && decodeNote(bytes);
    if (note?.id !== id || count >= CURSOR_NOTES_MAX) {
      throw new BackplaneError('cursor_invalid', 'cursor names nodes that the log does not hold: begin with since');
    }
    for (const node of note.nodes) if (!named.has(node.node)) named.set(node.node, node);
    next = note.before;
  }
  return [...named.values()];
}
