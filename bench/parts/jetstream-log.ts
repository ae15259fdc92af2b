/**
 * Frames a second that the log on JetStream takes, as a share of what the same publishes take without the expected
 * sequence: the same bytes and headers, on subjects of nodes, as many under way in all, on the same servers in turn. The
 * log's counts include that its broker has read the frame back: its headers where nobody subscribes, all of it where
 * somebody does.
 *
 *   node dist/bench/parts/jetstream-log.js [seconds [replicas [bytes [nodes [rounds]]]]]
 */
import { coverHeaders } from '../../src/broker/log/jetstream/frame-headers.js';
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

async function plain(servers: NatsServers, bytes: number, nodes: number): Promise<number> {
  const link = await linkTo(servers);
  const stream = { name: 'PLAIN', subjects: ['plain.>'], num_replicas: servers.servers.length };
  await link.manager.streams.add({ ...stream, max_bytes: STREAM_BYTES_MAX });
  try {
    // Until its leader is there.
    await link.client.publish('plain.begin', '', { retries: 20 });
    const frames = framesOf(bytes);
    return await rate(nodes, (who, count) => {
      const [frame, body] = frames(count);
      return link.publisher.publish(stream.name, `plain.f.process.n${who}`, body, coverHeaders(frame));
    });
  } finally {
    await link.manager.streams.delete(stream.name);
    await link.close();
  }
}

const shareOf = (ours: readonly number[], all: readonly number[]) =>
  median(ours.map((each, at) => round((100 * each) / all[at]!, 0)));

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
        const [unread, read, without]: [number[], number[], number[]] = [[], [], []];
        for (let turn = 0; turn < rounds; turn++) {
          unread.push(await appended(servers, bytes, nodes, false));
          without.push(await plain(servers, bytes, nodes));
          read.push(await appended(servers, bytes, nodes, true));
        }
        rows.push({
          replicas,
          sync: syncsAlways ? 'always' : 'default',
          nodes,
          'bytes a frame': bytes,
          'plain frames/s': Math.round(median(without)),
          'nobody subscribes, frames/s': Math.round(median(unread)),
          'share, %': shareOf(unread, without),
          'one subscriber, frames/s': Math.round(median(read)),
          'its share, %': shareOf(read, without),
        });
        console.error(JSON.stringify(rows.at(-1)));
      }
    }
  } finally {
    await servers.destroy();
  }
}
report('append to the log on JetStream', rows);
