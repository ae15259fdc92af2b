/** Cursors of what a log lost, while not all brokers know yet that it is lost. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CoveredPositions } from '../../../../src/broker/log/covered-positions.js';
import type { JetStreamLog } from '../../../../src/broker/log/jetstream/jetstream-log.js';
import { LostPlaces } from '../../../../src/broker/log/jetstream/lost-places.js';
import type { Snapshot } from '../../../../src/broker/log/partition-log.js';
import { MiB } from '../../../../src/limits.js';
import { encodeFrame } from '../../../../src/wire/frame/frame.js';
import { frameOf } from '../../../contract/partition-log.js';
import { JetStreamLogs } from '../../../harness/nats/jetstream-log.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
const nats = twoOnNats();
const UNAVAILABLE = { code: 'unavailable' };

async function append(log: JetStreamLog, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at++) {
    const frame = frameOf(at, at + 1, 100);
    await log.append('a', frame, encodeFrame(frame));
  }
}

/** A broker's log that has read 20 frames, of which the stream has 10 now: it has yet to see that. */
async function lateLog(logs: JetStreamLogs): Promise<JetStreamLog> {
  const late = await logs.open(64 * MiB);
  await append(late, 0, 10);
  const { first } = nats.servers;
  const [store, copy] = ['jetstream', 'copy'].map((name) => join(first.dir, name)) as [string, string];
  await first.stop();
  cpSync(store, copy, { recursive: true });
  first.start();
  await first.ready();
  await append(late, 10, 20);
  const { reading, asking } = logs.link(late);
  await reading.close();
  await first.kill();
  rmSync(store, { recursive: true });
  cpSync(copy, store, { recursive: true });
  first.start();
  await first.ready();
  await until('that it can be asked', () => asking.info !== undefined);
  await asking.flush();
  return late;
}

test('a place that a broker has read, and does not know to be lost, is not said to be unknown', { skip }, async () => {
  const logs = new JetStreamLogs(nats.servers);
  try {
    const late = await lateLog(logs);
    const mark = late.markBefore(21)!;
    const other = await logs.another();
    // On a crowded machine it may have seen by then what is lost.
    const said = await other.othersLostBefore(21, mark).catch(({ code }) => code);
    const isSeen = late.lostBefore(21, mark) !== undefined;
    assert.ok(said === 'unavailable' || (isSeen && said?.offset === 11), `${said?.offset ?? said}`);
    assert.equal(await other.othersLostBefore(21, mark + 1), undefined, 'nobody ever had that');
    // What a third one had read it cannot ask for before it knows what it lost itself.
    if (!isSeen) await assert.rejects(late.coveredBefore(40), isUnavailableUnlessSeen(late, mark));
    await assert.rejects(other.coveredBefore(40), { code: 'cursor_invalid' });
  } finally {
    await logs.destroy();
  }
});

/** It may be seen just now. */
function isUnavailableUnlessSeen(log: JetStreamLog, mark: number) {
  return ({ code }: Error & { readonly code?: string }) =>
    code === 'unavailable' || (code === 'cursor_invalid' && log.lostBefore(21, mark) !== undefined);
}

const NO_MARKS = { of: () => undefined };

/** A log that has read nothing of what is asked, as far as this says nothing else. */
function logOf(
  known: Partial<ConstructorParameters<typeof LostPlaces>[2]>,
): ConstructorParameters<typeof LostPlaces>[2] {
  return {
    ...{ partition: 0, firstOffset: 1, deliverableOffset: 11, isGoingBack: false },
    hasMark: async () => true,
    markBefore: () => 7,
    lostBefore: () => undefined,
    ...known,
  };
}

test('who was asked before it knew is asked again, and a place beyond what was read is not refused for good', {
  skip,
}, async () => {
  const [one, two] = nats.links;
  const place: Snapshot = { offset: 11, covered: new CoveredPositions() };
  let asked = 0;
  const knows = new LostPlaces(
    two.asking,
    'again',
    logOf({ lostBefore: () => (asked++ === 0 ? undefined : place) }),
    NO_MARKS,
  );
  await two.asking.flush();
  const asks = new LostPlaces(one.asking, 'again', logOf({}), NO_MARKS);
  const behind = new LostPlaces(one.asking, 'again', logOf({ deliverableOffset: 10 }), NO_MARKS);
  try {
    assert.equal((await asks.ofOthers(21, 5))?.offset, 11);
    await assert.rejects(behind.ofOthers(21, 5), UNAVAILABLE);
  } finally {
    for (const places of [knows, asks, behind]) places.close();
  }
});
