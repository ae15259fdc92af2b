/** Nothing is read of a log that goes back: what is known of it is not of one moment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CatchUpReader, type ReadLog } from '../../../../src/broker/log/jetstream/catch-up-reader.js';
import { CatchUpTurns } from '../../../../src/broker/log/jetstream/catch-up-turns.js';

/** Of a log with ten messages, none of which is wanted. */
function logOf(change: Partial<ReadLog<never>>): ReadLog<never> {
  return {
    ...{ link: undefined as never, stream: 'none', filters: [], turns: new CatchUpTurns() },
    deliverable: () => 10,
    firstOffset: async () => 1,
    // As after a checkpoint: the frames behind it are not known yet.
    lastWanted: () => 0,
    missing: () => [],
    markOf: () => undefined,
    rewinds: () => 0,
    read: () => assert.fail(),
    ...change,
  };
}

test('a reader stands still while its log goes back, and goes on in the one that there is then', async () => {
  let rewinds: number | undefined = 0;
  const reader = new CatchUpReader(logOf({ rewinds: () => rewinds }), 5);
  rewinds = undefined;
  assert.equal(await reader.next(), undefined);
  assert.equal(reader.offset, 5);
  rewinds = 1;
  assert.equal(await reader.next(), undefined);
  assert.equal(reader.offset, 5, 'what it had read ahead was of another one');
  assert.equal(await reader.next(), undefined);
  assert.equal(reader.offset, 10, 'nothing is wanted up to the end');
});

test('what a log lacks is not told where it goes back while its beginning is asked for', async () => {
  let rewinds = 0;
  const missing = [{ from: 5, to: 7, message: 'it is not there' }];
  const firstOffset = async () => {
    rewinds++;
    return 1;
  };
  const reader = new CatchUpReader(logOf({ rewinds: () => rewinds, missing: () => missing, firstOffset }), 5);
  assert.equal(await reader.next(), undefined);
  assert.equal(reader.offset, 5);
});

test('a log that goes back while it is asked where it begins is not taken for read to its end', async () => {
  let rewinds = 0;
  let end = 10;
  const firstOffset = async () => {
    // It has lost all from 6 on, and goes on there with other frames.
    if (rewinds === 0) [rewinds, end] = [1, 6];
    return 1;
  };
  const of = { deliverable: () => end, firstOffset, lastWanted: () => 4, rewinds: () => rewinds };
  const reader = new CatchUpReader(logOf(of), 5);
  assert.equal(await reader.next(), undefined);
  assert.equal(reader.offset, 5);
  assert.equal(await reader.next(), undefined);
  assert.equal(reader.offset, 6);
});
