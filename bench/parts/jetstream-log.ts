/**
 * Frames a second that the log on JetStream takes, beside publishing without the expected sequence: the same bytes and
 * headers, by the same publisher, on subjects of nodes, as many under way in all, on the same servers in turn.
 *
 *   plain        published
 *   read back    published, and taken for done when a consumer has brought its headers back: what the log does besides the
 *                expected sequence
 *   nobody       the log, whose broker has no subscriber and reads headers back
 *   subscriber   the log, whose broker has one of everything and reads all of it back
 *
 *   node dist/bench/parts/jetstream-log.js [seconds [replicas [bytes [nodes [rounds]]]]]
 */
import { coverHeaders } from '../../src/broker/log/jetstream/frame-headers.js';
import { OrderedReader } from '../../src/broker/nats/ordered-reader.js';
import type { StoredMessage } from '../../src/broker/nats/stream-pull.js';
import { MiB } from '../../src/limits.js';
import { encodeFrame, type Frame } from '../../src/wire/frame/frame.js';
import { frameOf } from '../../test/contract/partition-log.js';
import { JetStreamLogs } from '../../test/harness/nats/jetstream-log.js';
import { NatsServers } from '../../test/harness/nats/nats-servers.js';
import { linkTo } from '../../test/harness/nats/state-under-test.js';
import { median, report, round } from '../measuring/report.js';

const [seconds, onlyReplicas, onlyBytes, onlyNodes, rounds] = [4, 0, 0, 0, 3].map((usual, at) =>
  Number(process.argv[2 + at] ?? usual),
) as [number, number, number, number, number];
const STREAM_BYTES_MAX = 1024 * MiB;

/** Runs `send` from so many at once. Returns how many a second came to their end. */
async function rate(atOnce: number, send: (who: number, count: number) => Promise<unknown>): Promise<number> {
  let done = 0;
  const endMs = performance.now() + seconds * 1000;
  const one = async (who: number) => {
    for (let count = 0; performance.now() < endMs; count++, done++) await send(who, count);
  };
  const beganMs = performance.now();
  await Promise.all(Array.from({ length: atOnce }, (_, who) => one(who)));
  return done / ((performance.now() - beganMs) / 1000);
}

/** Frames of one node, one after the other. */
function framesOf(bytes: number): (count: number) => readonly [Frame, Buffer] {
  const template = frameOf(0, 1, bytes);
  return (count) => {
    const [from, to] = [count, count + 1].map((time) => ({ ...template.coveredTo, timeNs: BigInt(time) }));
    const timesNs = BigUint64Array.of(to!.timeNs);
    const frame = { ...template, coveredFrom: from!, coveredTo: to!, timesNs, continues: count > 0 };
    return [frame, encodeFrame(frame)];
  };
}

async function appended(servers: NatsServers, bytes: number, nodes: number, isFollowed: boolean): Promise<number> {
  const logs = new JetStreamLogs(servers);
  const times = { tickMs: 1_000, silenceMs: 3_000 };
  const log = await logs.open(STREAM_BYTES_MAX, { times, onLost: () => undefined });
  let told = 0;
  if (isFollowed) log.follow(() => told++);
  const frames = framesOf(bytes);
  try {
    return await rate(nodes, (who, count) => log.append(`n${who}`, ...frames(count)));
  } finally {
    await logs.link(log).manager.streams.delete(`BP_${logs.cluster}_0`);
    await logs.destroy();
  }
}

async function published(servers: NatsServers, bytes: number, nodes: number, readsBack: boolean): Promise<number> {
  const link = await linkTo(servers);
  const stream = { name: 'PLAIN', subjects: ['plain.>'], num_replicas: servers.servers.length };
  await link.manager.streams.add({ ...stream, max_bytes: STREAM_BYTES_MAX });
  /** By sequence. */
  const waiting = new Map<number, () => void>();
  let next = 1;
  const listener = {
    begin: () => next,
    headersOnly: () => true,
    message: ({ sequence }: StoredMessage) => {
      next = sequence + 1;
      waiting.get(sequence)?.();
      waiting.delete(sequence);
    },
    hasRead: () => true,
    trouble: () => undefined,
    gone: () => undefined,
  };
  const reader = readsBack ? new OrderedReader(link, stream.name, listener) : undefined;
  try {
    // Until its leader is there.
    await link.client.publish('plain.begin', '', { retries: 20 });
    const frames = framesOf(bytes);
    return await rate(nodes, async (who, count) => {
      const [frame, body] = frames(count);
      const subject = `plain.f.process.n${who}`;
      const sequence = await link.publisher.publish(stream.name, subject, body, coverHeaders(frame));
      if (readsBack && sequence >= next) await new Promise<void>((resolve) => waiting.set(sequence, resolve));
    });
  } finally {
    await reader?.close();
    await link.manager.streams.delete(stream.name);
    await link.close();
  }
}

const shareOf = (ours: readonly number[], all: readonly number[]) =>
  round(100 * median(ours.map((each, at) => each / all[at]!)), 0);

const rows = [];
for (const [replicas, syncsAlways] of [
  [1, false],
  [3, false],
  [1, true],
  [3, true],
] as const) {
  if (onlyReplicas > 0 && onlyReplicas !== replicas) continue;
  const servers = await NatsServers.start({ count: replicas, syncsAlways, storeBytesMax: 16 * 1024 * MiB });
  try {
    for (const bytes of onlyBytes > 0 ? [onlyBytes] : [1_000, 50_000]) {
      for (const nodes of onlyNodes > 0 ? [onlyNodes] : [1, 8, 200]) {
        const [plain, readBack, nobody, subscriber]: [number[], number[], number[], number[]] = [[], [], [], []];
        for (let turn = 0; turn < rounds; turn++) {
          nobody.push(await appended(servers, bytes, nodes, false));
          plain.push(await published(servers, bytes, nodes, false));
          readBack.push(await published(servers, bytes, nodes, true));
          subscriber.push(await appended(servers, bytes, nodes, true));
        }
        rows.push({
          replicas,
          sync: syncsAlways ? 'always' : 'default',
          'bytes a frame': bytes,
          nodes,
          'plain, frames/s': Math.round(median(plain)),
          'read back': Math.round(median(readBack)),
          nobody: Math.round(median(nobody)),
          subscriber: Math.round(median(subscriber)),
          'nobody, % of plain': shareOf(nobody, plain),
          'nobody, % of read back': shareOf(nobody, readBack),
          'subscriber, % of plain': shareOf(subscriber, plain),
        });
        console.error(JSON.stringify(rows.at(-1)));
      }
    }
  } finally {
    await servers.destroy();
  }
}
report('append to the log on JetStream', rows);
