/**
 * A member of a group as a process: it notes in a file what it is given and what it has committed, as if noting were the
 * work. Killed or stopped anywhere, the file says what was done before.
 *
 *   node worker.js BROKER[,BROKER] BROKER_DIR GROUP FILE COMMIT_MS SLOW_MS SINCE [NODE,...]
 *
 * File := line*, each a JSON list of a letter, milliseconds since 1970 and:
 *   "a", slice, epoch                              assigned
 *   "r", slice, epoch                              revoking
 *   "d", slice, epoch, node, [number, ...]         given and processed, in the order in which it came
 *   "c", [[slice, epoch, lines], ...], ms          committed: of each slice, so many of the "d" lines of the epoch; asked
 *                                                  for at ms
 *   "f", slice, epoch                              a commit was fenced
 *   "g", text                                      a gap was told
 *
 * SIGUSR2: it is slow, and does nothing for SLOW_MS. SIGTERM: it commits and ends.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../../../src/client/client.js';
import type { SubscribeItem } from '../../../src/client/subscribe-item.js';
import { asBackplaneError } from '../../../src/errors.js';
import type { SubscribeRequest } from '../../../src/wire/messages.js';
import { sequenceNumber } from '../bus/numbered.js';
import { credentialIn } from '../bus/token.js';

const [broker = '', brokerDir = '', group = '', file = '', commitMs = '', slowMs = '', since = '', nodes = ''] =
  process.argv.slice(2);
const client = new Client(broker.split(','), credentialIn(brokerDir));
const fd = openSync(file, 'a');
const ends = new AbortController();
let slowUntilMs = 0;
process.on('SIGTERM', () => ends.abort());
process.on('SIGUSR2', () => {
  slowUntilMs = Date.now() + Number(slowMs);
});

interface Held {
  readonly epoch: string;
  /** Lines of events that are noted in the file. */
  lines: number;
  /** The newest cursor, and how many of the lines it covers: not all events come with one. */
  cursor: string;
  covered: number;
  committed: string;
}

const slices = new Map<number, Held>();
let committing: Promise<void> = Promise.resolve();

function note(...line: unknown[]): void {
  const [letter, ...rest] = line;
  writeSync(fd, `${JSON.stringify([letter, Date.now(), ...rest])}\n`);
}

async function commit(only?: number): Promise<void> {
  const due = [...slices].filter(([slice, { cursor, committed }]) => {
    return cursor !== committed && cursor !== '' && (only === undefined || only === slice);
  });
  if (due.length === 0) return;
  const state = due.map(([slice, held]) => ({
    slice,
    held,
    epoch: held.epoch,
    cursor: held.cursor,
    lines: held.covered,
  }));
  const askedMs = Date.now();
  try {
    await client.commit({ group, slices: state.map(({ slice, epoch, cursor }) => ({ slice, epoch, cursor })) });
    note(
      'c',
      state.map(({ slice, epoch, lines }) => [slice, Number(epoch), lines]),
      askedMs,
    );
    for (const { held, cursor } of state) held.committed = cursor;
  } catch (cause) {
    const { code, message } = asBackplaneError(cause);
    if (code === 'unavailable') return;
    if (code !== 'fenced') throw new Error(`${code}: ${message}`);
    if (state.length === 1) {
      const [{ slice, held, epoch }] = state as [(typeof state)[0]];
      note('f', slice, Number(epoch));
      if (slices.get(slice) === held) slices.delete(slice);
    } else for (const { slice } of state) await commit(slice);
  }
}

function commitNext(only?: number): Promise<void> {
  committing = committing.then(() => commit(only)).catch(fail);
  return committing;
}

function fail(cause: unknown): never {
  console.error(cause);
  process.exit(1);
}

async function take(item: SubscribeItem): Promise<void> {
  if (item.kind === 'link') slices.clear();
  else if (item.kind === 'gap') note('g', `${item.gap.reason} ${item.gap.node} ${item.gap.events}`);
  else if (item.kind === 'group') {
    const { assigned, revoking } = item.group;
    if (assigned) {
      slices.set(assigned.slice, { epoch: assigned.epoch, lines: 0, cursor: '', covered: 0, committed: '' });
      note('a', assigned.slice, Number(assigned.epoch));
    }
    if (revoking) {
      note('r', revoking.slice, Number(revoking.epoch));
      await commitNext(revoking.slice);
      slices.delete(revoking.slice);
    }
  } else if (item.kind === 'events') {
    const { batch } = item;
    const held = slices.get(batch.slice);
    // What was fenced may still be on its way.
    if (held === undefined) return;
    const numbers = batch.received.map(({ message }) => sequenceNumber(message.process?.commandArgs) ?? -1);
    note('d', batch.slice, Number(held.epoch), batch.node, numbers);
    held.lines++;
    reached(held, batch.cursor);
  } else if (item.kind === 'watermark' || item.kind === 'coverage') {
    const { slice, cursor } = item.kind === 'watermark' ? item.watermark : item.coverage;
    const held = slices.get(slice);
    if (held) reached(held, cursor);
  }
}

function reached(held: Held, cursor: string): void {
  if (cursor === '') return;
  held.cursor = cursor;
  held.covered = held.lines;
}

const timer = setInterval(() => {
  if (Date.now() >= slowUntilMs) void commitNext();
}, Number(commitMs));
/** A broker that is being started again is waited for. */
async function* items(request: SubscribeRequest): AsyncGenerator<SubscribeItem> {
  while (!ends.signal.aborted) {
    try {
      yield* client.subscribe(request, ends.signal);
    } catch (cause) {
      if (asBackplaneError(cause).code !== 'unavailable') throw cause;
      await sleep(100);
    }
  }
}

try {
  const request = {
    ...{ topics: ['process'], nodes: nodes.split(',').filter(Boolean) },
    ...{ since, follow: true, group: { name: group, slices: 16 } },
  };
  for await (const item of items(request)) {
    while (Date.now() < slowUntilMs && !ends.signal.aborted) await sleep(50);
    await take(item);
  }
  await commitNext();
} catch (cause) {
  fail(cause);
} finally {
  clearInterval(timer);
  client.close();
  closeSync(fd);
}
