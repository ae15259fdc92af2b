/** Notes of cursors go to a log that takes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CursorNotes, readNotes } from '../../../../src/broker/delivery/cursor/cursor-notes.js';
import type { PartitionLog } from '../../../../src/broker/log/partition-log.js';
import { BackplaneError } from '../../../../src/errors.js';
import { CURSOR_NOTES_RETRY_MS } from '../../../../src/limits.js';

/** What notes need of a log. */
class NoteLog {
  readonly isRemote = true;
  readonly firstOffset = 1;
  takes = true;
  tried = 0;
  readonly #notes: Buffer[] = [];

  constructor(readonly partition: number) {}

  async appendNote(bytes: Buffer): Promise<number> {
    this.tried += 1;
    if (!this.takes) throw new BackplaneError('unavailable', 'it has no leader');
    return this.#notes.push(bytes);
  }

  async readNote(offset: number): Promise<Buffer | undefined> {
    return this.#notes[offset - 1];
  }

  settled(): Promise<void> {
    return new Promise(() => undefined);
  }
}

const node = (name: string) => ({ node: name, standing: 'late' as const });

test('a log that takes none is not tried with each event, and the next one has them all again', async () => {
  const logs = [0, 1, 2].map((partition) => new NoteLog(partition));
  const asLogs = logs as unknown as readonly PartitionLog[];
  let nowMs = 0;
  const notes = new CursorNotes(asLogs, 2, () => nowMs);
  assert.ok(await notes.write([node('a')]));
  assert.ok(await notes.write([node('b')]));
  assert.deepEqual([notes.place?.partition, notes.continued], [2, true]);
  logs[2]!.takes = false;
  for (let event = 0; event < 10; event += 1) assert.equal(await notes.write([node('c')]), false);
  assert.deepEqual([logs[2]!.tried, notes.place], [3, undefined]);
  nowMs += CURSOR_NOTES_RETRY_MS;
  assert.ok(await notes.write([node('a'), node('b'), node('c')]));
  assert.equal(notes.place?.partition, 0);
  const read = await readNotes(notes.place, (partition) => asLogs[partition]!);
  assert.deepEqual(read.map((each) => each.node).sort(), ['a', 'b', 'c']);
});

test('what other machines keep is not waited for: what is under way to them may take as long as they have no leader', async () => {
  const notes = new CursorNotes([new NoteLog(0)] as unknown as readonly PartitionLog[], 0);
  assert.ok(await notes.write([node('a')]));
  await notes.settled();
});
