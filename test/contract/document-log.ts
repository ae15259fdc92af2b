/** The contract of logs of documents, which every implementation must keep. */
import assert from 'node:assert/strict';
import type { DocumentBatch } from '../../src/broker/log/documents/document-batch.js';
import type { DocumentLog } from '../../src/broker/log/documents/document-log.js';
import type { IdWindows } from '../../src/broker/log/documents/known-ids.js';
import { MiB } from '../../src/limits.js';
import { batchOf, idsIn, readLog } from '../harness/broker/documents.js';
import { until } from '../harness/until.js';
import { type Each, eachWith } from './each.js';

export interface DocumentLogUnderTest {
  readonly log: DocumentLog;
  /** The same log as another broker has it, or this one when it is started again. */
  another(): Promise<DocumentLog>;
  /** What retention takes is taken now, and known. */
  enforce(): Promise<void>;
  destroy(): Promise<void>;
}

export interface DocumentLogWanted {
  readonly ids?: IdWindows;
  readonly bytesMax?: number;
}

export function documentLogContract(
  name: string,
  create: (wanted?: DocumentLogWanted) => Promise<DocumentLogUnderTest>,
): void {
  readContract(eachWith(name, create));
  sharedContract(eachWith(name, create));
  retentionContract(eachWith(name, () => create({ bytesMax: MiB })));
}

function readContract(each: Each<DocumentLogUnderTest>): void {
  each('batches are told and read whole, in the order of the appends; a topic is read alone', async ({ log }) => {
    const told: string[] = [];
    const end = log.follow({ stored: (batch) => told.push(...idsIn([batch])) });
    const first = log.append(batchOf('app.a', ['1', '2']));
    const second = log.append(batchOf('app.a', ['3']));
    assert.ok(log.pending);
    const third = log.append(batchOf('app.b', ['4']));
    const [one, two, other] = await Promise.all([first, second, third]);
    assert.ok(one.offset < two.offset);
    assert.deepEqual([one.duplicates, two.duplicates, other.duplicates], [0, 0, 0]);
    await log.settled();
    assert.equal(log.pending, false);
    assert.deepEqual([...told].sort(), ['1', '2', '3', '4']);
    const read = await batches(log);
    assert.deepEqual(idsIn(read), told);
    for (const [at, batch] of read.entries()) {
      assert.ok(at === 0 || (batch.timeNs > read[at - 1]!.timeNs && batch.offset > read[at - 1]!.offset));
      assert.equal(log.cached(batch.offset), batch, 'the newest are not read twice');
    }
    assert.deepEqual(idsIn(await readLog(log, log.firstOffset, ['app.b'])), ['4']);
    assert.equal(read.find(({ topic }) => topic === 'app.b')!.offset, other.offset);
    end();
    await log.append(batchOf('app.a', ['5']));
    assert.equal(told.length, 4);
    assert.deepEqual([log.stored.batches, log.stored.events], [4, 5]);
  });

  each('a reader stops where it is told to, and goes on from there', async ({ log }) => {
    for (const id of ['1', '2', '3']) await log.append(batchOf('app.a', [id]));
    const [, second] = await batches(log);
    const reader = log.reader(log.firstOffset, ['app.a', 'app.none']);
    const next = async (end: number) => {
      const item = await reader.next(end);
      return item?.kind === 'batch' ? idsIn([item.batch]) : item?.kind;
    };
    assert.deepEqual(await next(second!.offset), ['1']);
    assert.equal(await next(second!.offset), undefined);
    assert.deepEqual(await next(log.deliverableOffset), ['2']);
    assert.deepEqual(await next(Number.POSITIVE_INFINITY), ['3']);
    assert.equal(await next(Number.POSITIVE_INFINITY), undefined);
    await log.append(batchOf('app.a', ['4']));
    assert.deepEqual(await next(Number.POSITIVE_INFINITY), ['4']);
    reader.close();
  });

  each('batches are found by their times', async ({ log }) => {
    for (let at = 0; at < 20; at++) await log.append(batchOf('app.a', [String(at)]));
    const read = await batches(log);
    for (const { timeNs, offset } of read) {
      assert.ok((await log.offsetAt(timeNs)) <= offset, 'nothing is missed');
      assert.ok((await log.offsetAt(timeNs + 1n)) <= offset + 1);
    }
    assert.ok((await log.offsetAt(0n)) <= read[0]!.offset);
  });
}

function sharedContract(each: Each<DocumentLogUnderTest>): void {
  each(
    'an id that is known is acknowledged and comes once, also at another broker and after a start',
    async (under) => {
      const { log } = under;
      const { offset } = await log.append(batchOf('app.a', ['1', '2', '2']));
      assert.deepEqual(await log.append(batchOf('app.a', ['1'])), { offset, duplicates: 1 });
      const mixed = await log.append(batchOf('app.a', ['2', '3']));
      assert.equal(mixed.duplicates, 1);
      assert.ok(mixed.offset > offset);
      const racing = await Promise.all(Array.from({ length: 5 }, () => log.append(batchOf('app.a', ['4']))));
      assert.deepEqual(racing.map(({ duplicates }) => duplicates).sort(), [0, 1, 1, 1, 1]);
      assert.equal(new Set(racing.map((each) => each.offset)).size, 1);
      const other = await under.another();
      assert.deepEqual(await other.append(batchOf('app.a', ['3', '1'])), { offset, duplicates: 2 });
      assert.equal((await other.append(batchOf('app.b', ['1']))).duplicates, 0, 'another topic');
      assert.equal((await other.append(batchOf('app.a', ['1'], null, '@other'))).duplicates, 0, 'another publisher');
      assert.deepEqual(idsIn(await batches(other)), ['1', '2', '3', '4', '1', '1']);
    },
  );

  each('an event has the same position, time and mark at another broker, whose cursors are known', async (under) => {
    await under.log.append(batchOf('app.a', ['1', '2']));
    await under.log.append(batchOf('app.b', ['3']));
    const before = await batches(under.log);
    const { epoch } = under.log;
    assert.equal(under.log.markBefore(before[1]!.offset + 1), before[1]!.mark);
    const log = await under.another();
    const same = await batches(log);
    assert.deepEqual(
      same.map((batch) => [batch.position(1), batch.timeNs, batch.mark, batch.node, batch.topic]),
      before.map((batch) => [batch.position(1), batch.timeNs, batch.mark, batch.node, batch.topic]),
    );
    assert.equal(log.epoch, epoch);
    assert.ok(epoch > 1_600_000_000);
    for (const { offset, mark } of before) {
      await log.reached(offset + 1);
      assert.equal(await log.hasMark(offset + 1, mark!), true);
      assert.equal(await log.hasMark(offset + 1, (mark! ^ 1) >>> 0), false);
    }
    await assert.rejects(log.reached(log.deliverableOffset + 1), { code: 'cursor_invalid' });
  });
}

function retentionContract(each: Each<DocumentLogUnderTest>): void {
  each('what retention took is told to a reader, and known by topic', async (under) => {
    const { log } = under;
    const first = await log.append(batchOf('app.gone', ['g1', 'g2']));
    const text = 'x'.repeat(20_000);
    const last = { offset: 0 };
    for (let at = 0; at < 120; at++) last.offset = (await log.append(batchOf('app.flood', [String(at)], text))).offset;
    await log.append(batchOf('app.rare', ['r']));
    await until('retention has taken some', async () => {
      await under.enforce();
      return log.firstOffset > first.offset;
    });
    for (const each of [log, await under.another()]) {
      const read = idsIn(await readLog(each, first.offset));
      assert.equal(read[0], 'expired');
      const [oldest] = read.slice(1);
      assert.deepEqual(read.slice(1), [
        ...Array.from({ length: 120 - Number(oldest) }, (_, at) => String(Number(oldest) + at)),
        'r',
      ]);
      const gone = each.taken('app.gone')!;
      assert.deepEqual([gone.offset, gone.events], [first.offset, 2]);
      assert.ok(gone.timeNs > 0n);
      assert.equal(each.taken('app.rare'), undefined);
      const flood = each.taken('app.flood')!;
      assert.ok(flood.offset >= each.firstOffset - 2 && flood.offset < each.firstOffset);
      assert.deepEqual(each.taken('app.*'), flood);
      assert.ok(each.bytes <= MiB + 64 * 1024);
    }
  });
}

async function batches(log: DocumentLog): Promise<DocumentBatch[]> {
  return (await readLog(log, log.firstOffset)).map((each) => {
    assert.ok(typeof each !== 'string', `${each}`);
    return each;
  });
}
