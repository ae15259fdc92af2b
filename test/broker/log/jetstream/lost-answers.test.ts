/** A log whose server does not answer, or has lost some of what it acknowledged, as those see it who use the log. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { follows } from '../../../../src/broker/log/chain.js';
import { AppendBounds, Appender } from '../../../../src/broker/log/jetstream/appender.js';
import type { JetStreamLog } from '../../../../src/broker/log/jetstream/jetstream-log.js';
import { PartitionSubjects, partitionStream } from '../../../../src/broker/log/jetstream/subjects.js';
import { Marks, markOf } from '../../../../src/broker/log/tail/marks.js';
import { StreamTail } from '../../../../src/broker/log/tail/stream-tail.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { StreamPull } from '../../../../src/broker/nats/stream-pull.js';
import { BackplaneError } from '../../../../src/errors.js';
import { CONSUMER_TRIES, MiB } from '../../../../src/limits.js';
import { encodeFrame, type Frame } from '../../../../src/wire/frame/frame.js';
import { frameOf, PROCESS } from '../../../contract/partition-log.js';
import { JetStreamLogs } from '../../../harness/nats/jetstream-log.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';
import { linkTo } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
let servers: NatsServers;

if (skip === false) {
  before(async () => {
    servers = await NatsServers.start();
  });
  after(() => servers.destroy());
}

type Streams = NatsLink['manager']['streams'];

/** Connections of a broker, some of whose questions are answered otherwise. */
async function linkWith(otherwise: (streams: Streams) => Partial<Streams>): Promise<NatsLink> {
  const link = await linkTo(servers);
  const { streams } = link.manager;
  const values = Object.entries(otherwise(streams)).map(([name, value]) => [name, { value }] as const);
  const manager = Object.create(link.manager, {
    streams: { value: Object.create(streams, Object.fromEntries(values)) },
  });
  return Object.create(link, { manager: { value: manager } });
}

/** Whether none of its threads runs. */
function isStopped(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
  });
}

async function withLogs(run: (logs: JetStreamLogs) => Promise<void>): Promise<void> {
  const logs = new JetStreamLogs(servers);
  try {
    await run(logs);
  } finally {
    await logs.destroy();
  }
}

const append = (log: JetStreamLog, node: string, from: number, to: number) => {
  const frame: Frame = { ...frameOf(from, to, 100), continues: from > 0 };
  return log.append(node, frame, encodeFrame(frame));
};

test('a log that goes back while a hole is looked at takes no frame behind it', { skip }, () =>
  withLogs(async (logs) => {
    const log = await logs.open();
    await append(log, 'n', 0, 67);
    const [before, after] = [frameOf(0, 888), frameOf(0, 67)].map(({ coveredTo }) => coveredTo);
    let covered = before;
    const appender = (isKept: () => Promise<boolean>) =>
      new Appender({
        ...{ link: logs.link(log), stream: partitionStream(logs.cluster, 0), bounds: new AppendBounds(), isKept },
        readUpTo: async () => undefined,
        coveredTo: () => covered,
      });
    const subject = new PartitionSubjects(logs.cluster, 0).frame('process', 'n');
    const frame: Frame = { ...frameOf(888, 890, 100), continues: true };
    const goesBack = appender(async () => {
      covered = after;
      return true;
    });
    await assert.rejects(goesBack.append(subject, frame, encodeFrame(frame)), { code: 'failed_precondition' });
    covered = before;
    await appender(async () => true).append(subject, frame, encodeFrame(frame));
  }),
);

test('a frame that is stored, and not read back in time, is not stored again when it comes again', { skip }, () =>
  withLogs(async (logs) => {
    const log = await logs.open();
    const link = logs.link(log);
    let isLate = true;
    const appender = new Appender({
      ...{ link, stream: partitionStream(logs.cluster, 0), bounds: new AppendBounds(), isKept: async () => true },
      readUpTo: async (sequence) => {
        if (isLate) throw new BackplaneError('unavailable', `${sequence} is not read yet`);
      },
      coveredTo: () => undefined,
    });
    const subject = new PartitionSubjects(logs.cluster, 0).frame('process', 'n');
    const frames = [frameOf(0, 10, 100), { ...frameOf(10, 20, 100), continues: true }];
    const appended = () =>
      Promise.allSettled(frames.map((frame) => appender.append(subject, frame, encodeFrame(frame))));
    assert.deepEqual(
      (await appended()).map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    isLate = false;
    for (const each of await appended()) assert.deepEqual(each, { status: 'fulfilled', value: 2 });
    const { state } = await link.manager.streams.info(partitionStream(logs.cluster, 0), { subjects_filter: subject });
    assert.equal(state.subjects?.[subject], 2);
  }),
);

test(
  'while a tail goes back, also twice, it never seems not to, and what it had told stays told until that is told',
  {
    skip,
  },
  () =>
    withLogs(async (logs) => {
      const log = await logs.open();
      for (let at = 0; at < 8; at++) await append(log, 'n', at, at + 1);
      const marks = new Marks();
      let next = 1;
      const seen: string[] = [];
      const now = () => `${tail.rewinds} ${tail.deliverable}`;
      const taken: number[] = [];
      const tail = new StreamTail({
        ...{ link: logs.link(log), stream: partitionStream(logs.cluster, 0), times: { silenceMs: 3_600_000 } },
        ...{ hasTicks: true, place: () => ({ next, marks }), check: () => undefined, lost: assert.fail },
        take: ({ sequence, subject, timeNs }) => {
          marks.set(sequence, markOf(subject, timeNs));
          next = sequence + 1;
          taken.push(sequence);
          if (taken.length > 8) seen.push(`${sequence}: ${now()}`);
          if (taken.length !== 10) return;
          // Of what is read again the stream has lost more meanwhile.
          marks.set(5, 1);
          tail.restart('it lost more');
        },
        goBack: async (_info, lost) => {
          if (lost === undefined) return;
          seen.push(`lost ${lost}: ${now()}`);
          marks.cut(lost);
          next = 3;
          void (async () => {
            for (let steps = 0; steps < 10; steps++) {
              await undefined;
              seen.push(now());
            }
          })();
        },
        rewound: (sequence) => seen.push(`rewound ${sequence}: ${now()}`),
      });
      await tail.open(8);
      for (const sequence of [6, 7, 8]) marks.set(sequence, 1);
      tail.restart('it lost the end');
      await until('all was read again', () => taken.length > 10 && next === 9);
      assert.deepEqual(
        seen.filter((one, at) => one !== seen[at - 1]),
        [
          ...['lost 6: undefined 9', 'undefined 9', '3: undefined 9', '4: undefined 9'],
          ...['lost 5: undefined 9', 'undefined 9', '3: undefined 9', '4: undefined 9'],
          ...['rewound 5: 1 5', '5: 1 6', '6: 1 7', '7: 1 8', '8: 1 9'],
        ],
      );
      await tail.close();
    }),
);

test('a consumer is not read on a server that does not lead the stream', { skip }, () =>
  withLogs(async (logs) => {
    const link = logs.link(await logs.open());
    const { streams, consumers } = link.manager;
    /** Who leads the stream, answer by answer, as in a cluster. */
    let leaders: string[] = [];
    let made = 0;
    const others = {
      streams: {
        info: async (name: string) => {
          return { ...(await streams.info(name)), cluster: { name: 'test', leader: leaders.shift() } };
        },
      },
      consumers: {
        add: async (...asked: Parameters<typeof consumers.add>) => {
          made++;
          return { ...(await consumers.add(...asked)), cluster: { name: 'test', leader: 'n3' } };
        },
      },
    };
    const manager = { ...others, consumers: { ...others.consumers, delete: consumers.delete.bind(consumers) } };
    const open = () =>
      StreamPull.open(
        Object.create(link, { manager: { value: manager } }),
        { stream: partitionStream(logs.cluster, 0), from: 1 },
        { message: () => assert.fail(), ended: () => assert.fail(), failed: assert.fail },
      );
    leaders = Array.from({ length: CONSUMER_TRIES }, () => 'n1');
    await assert.rejects(open(), /its consumer is on n3, which does not lead/);
    leaders = ['n1', 'n3'];
    made = 0;
    (await open()).close();
    assert.deepEqual([leaders, made], [[], 2]);
  }),
);

test('a server that stops, and then goes: whoever asked it is told that it is unavailable, and why', { skip }, () =>
  withLogs(async (logs) => {
    const first = await logs.open(256 * 1024);
    for (let at = 0; at < 300; at++) await append(first, `n${at % 7}`, Math.floor(at / 7), Math.floor(at / 7) + 1);
    const note = await first.appendNote(Buffer.from('note'));
    await first.settled();
    let stop: (() => void) | undefined;
    const link = await linkWith((streams) => ({
      info: async (...asked: Parameters<Streams['info']>) => {
        stop?.();
        // A signal takes a moment: until then the server would still answer.
        if (stop !== undefined) await until('it stands still', () => isStopped(servers.first.pid!));
        return streams.info(...asked);
      },
    }));
    const log = await logs.open(256 * 1024, { link });
    assert.equal(log.markBefore(3), undefined, 'its mark is not in memory');
    const stopped = new Promise<void>((resolve) => {
      stop = () => {
        servers.first.pause();
        resolve();
      };
    });
    try {
      const covered = log.coveredBefore(3);
      await stopped;
      await assert.rejects(covered, { code: 'unavailable', message: /BP_test-\d+_0 cannot be looked at: timeout$/ });
      const asked = [log.readNote(note), log.hasMark(3, 1), log.look()].map((each) =>
        assert.rejects(each, {
          code: 'unavailable',
          message: /cannot be (read|looked at): the connection .* was lost$/,
        }),
      );
      stop = undefined;
      await servers.first.kill();
      await Promise.all(asked);
    } finally {
      await servers.first.kill();
      servers.first.start();
      await servers.first.ready();
    }
  }),
);

test("when a frame was appended is told by the broker's clock, whatever the servers' say", { skip }, () =>
  withLogs(async (logs) => {
    const hourMs = 3_600_000;
    const link = await linkWith((streams) => ({
      info: async (...asked: Parameters<Streams['info']>) => ({
        ...(await streams.info(...asked)),
        ts: new Date(Date.now() + hourMs).toISOString(),
      }),
    }));
    const log = await logs.open(64 * MiB, { link });
    const told: number[] = [];
    log.follow(({ appendedMs }) => told.push(appendedMs));
    const beganMs = Date.now();
    await append(log, 'a', 0, 10);
    const item = await log.reader(1, PROCESS).next();
    const times = [...told, item?.kind === 'frame' ? item.appendedMs : 0];
    // The servers only say that they are ahead: what they have stored has the true time.
    assert.deepEqual(
      times.map((ms) => Math.round((beganMs - ms) / hourMs)),
      [1, 1],
    );
  }),
);

/** A stream that takes deletions, and says that it does not: something has to damage it. */
const damageable = () =>
  linkWith((streams) => ({
    add: (form) => streams.add({ ...form, deny_delete: false }),
    info: async (...asked: Parameters<Streams['info']>) => {
      const info = await streams.info(...asked);
      return { ...info, config: { ...info.config, deny_delete: true } };
    },
  }));

test(
  'a message that the middle of a stream has lost keeps its node from nothing, and readers see the hole',
  {
    skip,
  },
  () =>
    withLogs(async (logs) => {
      const link = await damageable();
      const log = await logs.open(64 * MiB, { link });
      const told: string[] = [];
      log.follow(({ node, frame }) => told.push(`${node} ${frame.coveredFrom.timeNs}-${frame.coveredTo.timeNs}`));
      await append(log, 'a', 0, 10);
      const lost = await append(log, 'a', 10, 20);
      await append(log, 'b', 0, 10);
      await link.manager.streams.deleteMessage(`BP_${logs.cluster}_0`, lost);
      await append(log, 'a', 20, 30);
      await append(log, 'a', 30, 40);
      assert.deepEqual(told, ['a 0-10', 'a 10-20', 'b 0-10', 'a 20-30', 'a 30-40']);
      const seen: string[] = [];
      const reader = log.reader(1, PROCESS);
      let reached: Frame['coveredTo'] | undefined;
      for (let item = await reader.next(); item; item = await reader.next()) {
        if (item.kind !== 'frame' || item.node !== 'a') continue;
        seen.push(follows(item.frame, reached));
        reached = item.frame.coveredTo;
      }
      assert.deepEqual(seen, ['next', 'hole', 'next']);
      const later = await logs.open(64 * MiB, { link });
      const before = await later.coveredBefore(lost + 2);
      assert.equal(before.to('a', 'process')?.timeNs, 20n, 'who has had it does not get it again');
    }),
);

test(
  'who comes from further than a log was read learns from what is read then how far a node was delivered',
  { skip },
  () =>
    withLogs(async (logs) => {
      const first = await logs.open();
      await append(first, 'a', 0, 10);
      let during: (() => Promise<void>) | undefined;
      const link = await linkWith((streams) => ({
        info: async (...asked: Parameters<Streams['info']>) => {
          const comes = during;
          during = undefined;
          await comes?.();
          return streams.info(...asked);
        },
      }));
      const log = await logs.open(64 * MiB, { link });
      log.follow(() => undefined);
      const before = log.deliverableOffset;
      during = async () => {
        // In place of a frame from 10 to 20.
        await link.client.publish(new PartitionSubjects(logs.cluster, 0).frame('process', 'a'), 'noise');
        const behind = await append(first, 'a', 20, 30);
        await until('it is read', () => log.deliverableOffset > behind);
      };
      const covered = await log.coveredBefore(before + 1);
      assert.equal(covered.to('a', 'process')?.timeNs, 20n, 'the frame behind it says so');
    }),
);

test('a message that the end of a stream has lost is sent again by its node', { skip }, () =>
  withLogs(async (logs) => {
    const link = await damageable();
    const rewound: number[] = [];
    const log = await logs.open(64 * MiB, { link, onRewound: (_log, offset) => rewound.push(offset) });
    await append(log, 'a', 0, 10);
    const lost = await append(log, 'a', 10, 20);
    await link.manager.streams.deleteMessage(`BP_${logs.cluster}_0`, lost);
    await assert.rejects(append(log, 'a', 20, 30), { code: 'failed_precondition' });
    await until('the log went back', () => rewound.length > 0);
    assert.deepEqual(rewound, [lost]);
    assert.equal(log.coveredTo('a', 'process')?.timeNs, 10n, 'the node begins here');
    await append(log, 'a', 10, 20);
    await append(log, 'a', 20, 30);
    assert.equal(log.coveredTo('a', 'process')?.timeNs, 30n);
  }),
);
