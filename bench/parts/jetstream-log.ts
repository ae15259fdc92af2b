/**
 * What the log on JetStream takes, beside publishing without the expected sequence: the same bytes and headers, by the same
 * publisher, on subjects of nodes, as many under way in all, on the same servers in turn. Frames a second, and what each costs
 * of a processor, in this process and in the servers: that tells more where others use the machine, too.
 *
 *   plain        published
 *   read         published, while a consumer reads all of it back
 *   expected     published with the sequence of the subject's last message
 *   read back    likewise, and done when a consumer has brought the headers back
 *   nobody       the log, whose broker has no subscriber and reads headers back
 *   subscriber   the log, whose broker has one of everything and reads all of it back
 *
 *   node dist/bench/parts/jetstream-log.js [seconds [replicas [bytes [nodes [rounds]]]]]
 */
import { readFileSync } from 'node:fs';
import { coverText } from '../../src/broker/log/jetstream/frame-headers.js';
import { sentHeaders } from '../../src/broker/nats/header-text.js';
import { OrderedReader } from '../../src/broker/nats/ordered-reader.js';
import type { StoredMessage } from '../../src/broker/nats/stream-pull.js';
import { MiB } from '../../src/limits.js';
import { encodeFrame, type Frame } from '../../src/wire/frame/frame.js';
import { frameOf } from '../../test/contract/partition-log.js';
import { JetStreamLogs } from '../../test/harness/nats/jetstream-log.js';
import { NatsServers } from '../../test/harness/nats/nats-servers.js';
import { linkTo } from '../../test/harness/nats/state-under-test.js';
import { median, report } from '../measuring/report.js';

const [seconds, onlyReplicas, onlyBytes, onlyNodes, rounds] = [4, 0, 0, 0, 3].map((usual, at) =>
  Number(process.argv[2 + at] ?? usual),
) as [number, number, number, number, number];
const STREAM_BYTES_MAX = 1024 * MiB;

interface Measured {
  readonly perSecond: number;
  /** Microseconds of a processor for each frame. */
  readonly ownUs: number;
  readonly serverUs: number;
}

/** Clock ticks of the kernel are a hundredth of a second. */
const TICK_US = 10_000;

function serverUs({ servers }: NatsServers): number {
  const ticks = servers.map(({ pid }) => {
    const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .split(') ')[1]!
      .split(' ')
      .slice(11, 13)
      .map(Number);
    return user! + system!;
  });
  return ticks.reduce((sum, each) => sum + each, 0) * TICK_US;
}

/** Runs `send` from so many at once. */
async function measure(
  servers: NatsServers,
  atOnce: number,
  send: (who: number, count: number) => Promise<unknown>,
): Promise<Measured> {
  let done = 0;
  const [own, theirs, beganMs] = [process.cpuUsage(), serverUs(servers), performance.now()];
  const endMs = beganMs + seconds * 1000;
  const one = async (who: number) => {
    for (let count = 0; performance.now() < endMs; count++, done++) await send(who, count);
  };
  await Promise.all(Array.from({ length: atOnce }, (_, who) => one(who)));
  const { user, system } = process.cpuUsage(own);
  return {
    perSecond: done / ((performance.now() - beganMs) / 1000),
    ownUs: (user + system) / done,
    serverUs: (serverUs(servers) - theirs) / done,
  };
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

async function appended(servers: NatsServers, bytes: number, nodes: number, isFollowed: boolean): Promise<Measured> {
  const logs = new JetStreamLogs(servers);
  const times = { tickMs: 1_000, silenceMs: 3_000 };
  const log = await logs.open(STREAM_BYTES_MAX, { times, onLost: () => undefined });
  let told = 0;
  if (isFollowed) log.follow(() => told++);
  const frames = framesOf(bytes);
  try {
    return await measure(servers, nodes, (who, count) => log.append(`n${who}`, ...frames(count)));
  } finally {
    await logs.link(log).manager.streams.delete(`BP_${logs.cluster}_0`);
    await logs.destroy();
  }
}

interface Does {
  readonly expect?: boolean;
  /** Each counts only then. */
  readonly readBack?: boolean;
  readonly readBodies?: boolean;
}

async function published(servers: NatsServers, bytes: number, nodes: number, does: Does): Promise<Measured> {
  const link = await linkTo(servers);
  const stream = { name: 'PLAIN', subjects: ['plain.>'], num_replicas: servers.servers.length };
  await link.manager.streams.add({ ...stream, max_bytes: STREAM_BYTES_MAX });
  /** By sequence. */
  const waiting = new Map<number, () => void>();
  let next = 1;
  const listener = {
    begin: () => next,
    headersOnly: () => !does.readBodies,
    message: ({ sequence }: StoredMessage) => {
      next = sequence + 1;
      waiting.get(sequence)?.();
      waiting.delete(sequence);
    },
    hasRead: () => true,
    trouble: () => undefined,
    gone: () => undefined,
  };
  const reader = does.readBack || does.readBodies ? new OrderedReader(link, stream.name, listener) : undefined;
  try {
    // Until its leader is there.
    await link.client.publish('plain.begin', '', { retries: 20 });
    const frames = framesOf(bytes);
    const last = new Map<string, number>();
    return await measure(servers, nodes, async (who, count) => {
      const [frame, body] = frames(count);
      const subject = `plain.f.process.n${who}`;
      const send = () => {
        const headers = sentHeaders(coverText(frame, does.expect ? (last.get(subject) ?? 0) : undefined));
        return link.publisher.publish(stream.name, subject, body, headers);
      };
      let sequence = await send().catch(() => undefined);
      while (sequence === undefined) {
        // On a busy machine an answer may be late.
        const found = await link.manager.streams.getMessage(stream.name, { last_by_subj: subject }).catch(() => null);
        if (found !== null) last.set(subject, found.seq);
        sequence = await send().catch(() => undefined);
      }
      last.set(subject, sequence);
      const stored = sequence;
      if (does.readBack && stored >= next) await new Promise<void>((resolve) => waiting.set(stored, resolve));
    });
  } finally {
    await reader?.close();
    await link.manager.streams.delete(stream.name);
    await link.close();
  }
}

const WAYS: Readonly<Record<string, (servers: NatsServers, bytes: number, nodes: number) => Promise<Measured>>> = {
  plain: (...of) => published(...of, {}),
  read: (...of) => published(...of, { readBodies: true }),
  expected: (...of) => published(...of, { expect: true }),
  'read back': (...of) => published(...of, { expect: true, readBack: true }),
  nobody: (...of) => appended(...of, false),
  subscriber: (...of) => appended(...of, true),
};

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
        const rates: Record<string, Measured[]> = {};
        for (let turn = 0; turn < rounds; turn++) {
          // What one writes the disk still has to take during the next: each is first in its turn.
          const ways = Object.entries(WAYS);
          for (const [way, run] of [...ways.slice(turn % ways.length), ...ways.slice(0, turn % ways.length)]) {
            rates[way] ??= [];
            rates[way].push(await run(servers, bytes, nodes));
          }
        }
        for (const [way, measured] of Object.entries(rates)) {
          const shares = measured.map(({ perSecond }, at) => (100 * perSecond) / rates.plain![at]!.perSecond);
          const [ownUs, theirUs] = [
            median(measured.map((each) => each.ownUs)),
            median(measured.map((each) => each.serverUs)),
          ];
          rows.push({
            replicas,
            sync: syncsAlways ? 'always' : 'default',
            ...{ bytes, nodes, way },
            'frames/s': Math.round(median(measured.map(({ perSecond }) => perSecond))),
            '% of plain': Math.round(median(shares)),
            least: Math.round(Math.min(...shares)),
            most: Math.round(Math.max(...shares)),
            'own µs': Math.round(ownUs),
            'servers µs': Math.round(theirUs),
          });
          console.error(JSON.stringify(rows.at(-1)));
        }
      }
    }
  } finally {
    await servers.destroy();
  }
}
report('append to the log on JetStream', rows);
