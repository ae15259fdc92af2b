/**
 * Frames a second that the log on JetStream takes, as a share of what JetStream takes without the expected sequence, in one
 * run: as many under way in all, on the same servers. The log's count includes that its broker has read the frame back.
 *
 *   node dist/bench/parts/jetstream-log.js [seconds [replicas]]
 */

import { MiB } from '../../src/limits.js';
import { encodeFrame } from '../../src/wire/frame/frame.js';
import { frameOf } from '../../test/contract/partition-log.js';
import { JetStreamLogs } from '../../test/harness/nats/jetstream-log.js';
import { NatsServers } from '../../test/harness/nats/nats-servers.js';
import { median, report, round } from '../measuring/report.js';

const seconds = Number(process.argv[2] ?? 4);
const only = Number(process.argv[3] ?? 0);
const ROUNDS = 3;

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

const rows = [];
for (const [replicas, syncsAlways] of [
  [1, false],
  [3, false],
  [1, true],
  [3, true],
] as const) {
  if (only > 0 && only !== replicas) continue;
  const servers = await NatsServers.start({ count: replicas, syncsAlways, storeBytesMax: 16 * 1024 * MiB });
  try {
    for (const bytes of [1_000, 50_000]) {
      for (const nodes of [1, 8, 200]) {
        const [ours, plain]: [number[], number[]] = [[], []];
        for (let round = 0; round < ROUNDS; round++) {
          const logs = new JetStreamLogs(servers);
          const log = await logs.open(1024 * MiB, {
            times: { tickMs: 1_000, silenceMs: 3_000 },
            onLost: () => undefined,
          });
          const frames = (count: number) => {
            const frame = frameOf(count, count + 1, bytes);
            return [frame, encodeFrame(frame)] as const;
          };
          ours.push(await rate(nodes, (who, count) => log.append(`n${who}`, ...frames(count))));
          const { client, manager } = logs.link(log);
          const subject = `plain.${logs.cluster}`;
          const stream = { name: `PLAIN_${logs.cluster}`, subjects: [subject], num_replicas: replicas };
          await manager.streams.add({ ...stream, max_bytes: 1024 * MiB });
          // Until its leader is there.
          await client.publish(subject, '', { retries: 20 });
          plain.push(await rate(nodes, (_, count) => client.publish(subject, frames(count)[1])));
          await manager.streams.delete(stream.name);
          await manager.streams.delete(`BP_${logs.cluster}_0`);
          await logs.destroy();
        }
        rows.push({
          replicas,
          sync: syncsAlways ? 'always' : 'default',
          nodes,
          'bytes a frame': bytes,
          'frames/s': Math.round(median(ours)),
          'plain frames/s': Math.round(median(plain)),
          'share, %': round((100 * median(ours)) / median(plain), 0),
        });
        console.error(JSON.stringify(rows.at(-1)));
      }
    }
  } finally {
    await servers.destroy();
  }
}
report('append to the log on JetStream', rows);
