/** The log on JetStream: the contract, and what only a log that others keep can suffer. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { follows } from '../../../../src/broker/log/chain.js';
import { CoveredPositions } from '../../../../src/broker/log/covered-positions.js';
import { FanOut } from '../../../../src/broker/log/fan-out.js';
import { CatchUpReader } from '../../../../src/broker/log/jetstream/catch-up-reader.js';
import { CatchUpTurns } from '../../../../src/broker/log/jetstream/catch-up-turns.js';
import { checkpointParts } from '../../../../src/broker/log/jetstream/checkpoint.js';
import { coverText } from '../../../../src/broker/log/jetstream/frame-headers.js';
import type { JetStreamLog } from '../../../../src/broker/log/jetstream/jetstream-log.js';
import { partitionForm } from '../../../../src/broker/log/jetstream/streams.js';
import { PartitionSubjects, partitionStream } from '../../../../src/broker/log/jetstream/subjects.js';
import type { LogEntry, LogLoss } from '../../../../src/broker/log/partition-log.js';
import { headers as natsHeaders } from '../../../../src/broker/nats/nats-library.js';
import { makeStream } from '../../../../src/broker/nats/stream-form.js';
import type { BackplaneError } from '../../../../src/errors.js';
import { MiB } from '../../../../src/limits.js';
import { encodeFrame, type Frame } from '../../../../src/wire/frame/frame.js';
import type { Position } from '../../../../src/wire/position.js';
import { frameOf, PROCESS, partitionLogContract } from '../../../contract/partition-log.js';
import { JetStreamLogs } from '../../../harness/nats/jetstream-log.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';
import { linkTo } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

let servers: NatsServers;

const append = (log: JetStreamLog, from: number, to: number, node = 'a') => {
  const frame = frameOf(from, to, 100);
  return log.append(node, frame, encodeFrame(frame));
};

/** What a subscription makes of what it is told: the stretches that are new, in order. */
class Told {
  readonly stretches: string[] = [];
  readonly losses: LogLoss[] = [];
  readonly #reached = new Map<string, Position>();

  constructor(log: JetStreamLog) {
    log.follow(
      (entry) => this.#take(entry),
      (loss) => this.losses.push(loss),
    );
  }

  #take({ node, frame }: LogEntry): void {
    const reached = this.#reached.get(node);
    const followed = follows(frame, reached);
    if (followed === 'duplicate') return;
    const from = followed === 'overlap' ? reached! : frame.coveredFrom;
    this.stretches.push(`${node} ${from.timeNs}-${frame.coveredTo.timeNs}`);
    this.#reached.set(node, frame.coveredTo);
  }
}

async function withLogs(run: (logs: JetStreamLogs) => Promise<void>): Promise<void> {
  const logs = new JetStreamLogs(servers);
  try {
    await run(logs);
  } finally {
    await logs.destroy();
  }
}

const skip = needsNats();

if (skip === false) {
  before(async () => {
    servers = await NatsServers.start();
  });
  after(() => servers.destroy());
  partitionLogContract('jetstream', async () => new JetStreamLogs(servers));
}

test('what a broker says of silence all who follow hear with its tick, behind the frames before it', { skip }, () =>
  withLogs(async (logs) => {
    const times = { times: { tickMs: 200 } };
    const [one, other] = [await logs.open(64 * MiB, times), await logs.open()];
    const heard: string[] = [];
    other.follow(
      ({ offset }) => heard.push(`frame ${offset}`),
      undefined,
      ({ node, topic, watermarkNs }, offset) => heard.push(`${node} ${topic} ${watermarkNs} behind ${offset > last}`),
    );
    const last = await append(one, 0, 10);
    for (const watermarkNs of [20n, 40n, 30n]) one.tellSilence({ node: 'a.b', topic: 'process', watermarkNs });
    await until('the tick', () => heard.length > 1);
    assert.deepEqual(heard, [`frame ${last}`, 'a.b process 40 behind true']);
  }),
);

test('a server is killed while frames are appended: none is lost, and none is there twice', { skip }, async () => {
  await withLogs(async (logs) => {
    const log = await logs.open(64 * MiB, { times: { tickMs: 200, silenceMs: 1_000 } });
    const told = new Told(log);
    let acknowledged = 0;
    const appending = (async () => {
      for (; acknowledged < 60; acknowledged++) {
        const once = () => append(log, acknowledged, acknowledged + 1).catch((cause: BackplaneError) => cause);
        // As held frames are: tried again until the log takes them.
        await until(
          'a frame is taken',
          async () => typeof (await once()) === 'number',
          () => acknowledged,
        );
      }
    })();
    await until(
      'some are taken',
      () => acknowledged >= 20,
      () => acknowledged,
    );
    await servers.first.kill();
    servers.first.start();
    await servers.first.ready();
    await appending;
    const all = Array.from({ length: 60 }, (_, at) => `a ${at}-${at + 1}`);
    assert.deepEqual(told.stretches, all);
    assert.deepEqual(told.losses, []);
    const reader = log.reader(1, PROCESS);
    for (const one of all) {
      const item = await reader.next();
      assert.ok(item?.kind === 'frame');
      assert.equal(`a ${item.frame.coveredFrom.timeNs}-${item.frame.coveredTo.timeNs}`, one);
    }
    assert.equal(await reader.next(), undefined);
  });
});

test('a server that lost its end: the log goes back, and frames that are sent again come once', { skip }, async () => {
  await withLogs(async (logs) => {
    const rewound: number[] = [];
    const log = await logs.open(64 * MiB, { onRewound: (_log, offset) => rewound.push(offset) });
    const told = new Told(log);
    const toldFollower: number[][] = [];
    const lostMarks: unknown[] = [];
    const follower = {
      ...{ topics: PROCESS, predicateIds: [], notify: () => undefined, passed: () => undefined },
      rewound: (...lost: number[]) => {
        toldFollower.push(lost);
        lostMarks.push(log.markBefore(21));
      },
    };
    const { close } = new FanOut([log]).join(follower, () => log.deliverableOffset);
    for (let at = 0; at < 10; at++) await append(log, at, at + 1);
    const mark = log.markBefore(11)!;
    const { first } = servers;
    const [store, copy] = ['jetstream', 'copy'].map((name) => join(first.dir, name)) as [string, string];
    await first.stop();
    cpSync(store, copy, { recursive: true });
    first.start();
    await first.ready();
    for (let at = 10; at < 20; at++) await append(log, at, at + 1);
    const [lostMark, middleMark] = [log.markBefore(21)!, log.markBefore(16)!];
    assert.equal(log.lostBefore(21, lostMark), undefined, 'nothing is lost yet');
    await first.kill();
    rmSync(store, { recursive: true });
    cpSync(copy, store, { recursive: true });
    first.start();
    await first.ready();
    await until(
      'the log knows',
      () => rewound.length > 0,
      () => log.trouble,
    );
    assert.deepEqual(rewound, [11]);
    assert.deepEqual(toldFollower, [[0, 11]]);
    assert.deepEqual(lostMarks, [lostMark], 'whoever had got so far can still say so');
    close();
    assert.deepEqual(told.losses, [{ kind: 'rewound', offset: 11 }]);
    assert.equal(log.coveredTo('a', 'process')!.timeNs, 10n, 'the agent is told to send what was lost');
    // Cut otherwise than before, and more.
    for (const [from, to] of [
      [10, 13],
      [13, 22],
      [22, 25],
    ] as const)
      await append(log, from, to);
    const before = Array.from({ length: 20 }, (_, at) => `a ${at}-${at + 1}`);
    assert.deepEqual(told.stretches, [...before, 'a 20-22', 'a 22-25']);
    assert.equal(await log.hasMark(11, mark), true);
    assert.equal(await log.hasMark(21, lostMark), false, 'a cursor of what was lost is recognised');
    const where = (offset: number, lost: number) => {
      const found = log.lostBefore(offset, lost);
      return found && [found.offset, found.covered.to('a', 'process')!.timeNs];
    };
    assert.deepEqual(where(21, lostMark), [11, 20n], 'and it is known how far it had got');
    assert.deepEqual(where(16, middleMark), [11, 15n]);
    assert.deepEqual([where(16, lostMark), where(11, mark), where(40, mark)], [undefined, undefined, undefined]);
    const other = await logs.another();
    // It was started since, and asks the one that was not.
    const asked = await other.othersLostBefore(21, lostMark);
    assert.deepEqual([asked?.offset, asked?.covered.to('a', 'process')?.timeNs], [11, 20n]);
  });
});

test('a consumer that is dead without a sign is replaced', { skip }, async () => {
  await withLogs(async (logs) => {
    const log = await logs.open(64 * MiB, { times: { tickMs: 100, silenceMs: 400 } });
    const told = new Told(log);
    await append(log, 0, 1);
    const { manager } = logs.link(log);
    const stream = `BP_${logs.cluster}_0`;
    const [consumer] = await manager.consumers.list(stream).next();
    await manager.consumers.pause(stream, consumer!.name, new Date(Date.now() + 3_600_000));
    await append(log, 1, 2);
    assert.deepEqual(told.stretches, ['a 0-1', 'a 1-2']);
  });
});

test('where no consumer can be made, the log is read from its leader', { skip }, async () => {
  await withLogs(async (logs) => {
    const link = await linkTo(servers);
    let inVain = 0;
    const consumers = Object.create(link.manager.consumers, {
      add: {
        value: async (...given: Parameters<typeof link.manager.consumers.add>) => {
          if (inVain > 0) throw new Error(`the servers have no leader: ${inVain++}`);
          return link.manager.consumers.add(...given);
        },
      },
    });
    const manager = Object.create(link.manager, { consumers: { value: consumers } });
    const log = await logs.open(64 * MiB, { link: { ...link, manager }, times: { silenceMs: 600 } });
    const told = new Told(log);
    await append(log, 0, 1);
    inVain = 1;
    const stream = `BP_${logs.cluster}_0`;
    for await (const { name } of link.manager.consumers.list(stream)) {
      await link.manager.consumers.pause(stream, name, new Date(Date.now() + 3_600_000));
    }
    for (let at = 1; at < 10; at++) await append(log, at, at + 1);
    await until('others are tried', () => inVain > 1);
    const all = Array.from({ length: 10 }, (_, at) => `a ${at}-${at + 1}`);
    assert.deepEqual(told.stretches, all);
    inVain = 0;
    await append(log, 10, 11);
    assert.deepEqual(told.stretches, [...all, 'a 10-11']);
  });
});

test('a reader takes nothing of a server that has other messages than were read before', { skip }, () =>
  withLogs(async (logs) => {
    const log = await logs.open();
    await append(log, 0, 1);
    const subjects = new PartitionSubjects(logs.cluster, 0);
    const reader = new CatchUpReader<never>(
      {
        ...{ link: logs.link(log), stream: partitionStream(logs.cluster, 0), turns: new CatchUpTurns() },
        ...{
          filters: [subjects.topic('process')],
          deliverable: () => log.deliverableOffset,
          firstOffset: async () => 1,
        },
        ...{ lastWanted: () => 1, missing: () => [], rewinds: () => 0, markOf: () => 7, read: () => assert.fail() },
      },
      1,
    );
    await assert.rejects(reader.next(), /its server has another message at 1$/);
    reader.close();
  }),
);

test('a stream that is deleted, or made anew, ends the log with one sentence', { skip }, async () => {
  await withLogs(async (logs) => {
    const lost: BackplaneError[] = [];
    const log = await logs.open(64 * MiB, { onLost: (cause) => lost.push(cause), times: { silenceMs: 600 } });
    const { manager } = logs.link(log);
    await manager.streams.delete(`BP_${logs.cluster}_0`);
    await until(
      'it is missed',
      () => lost.length > 0,
      () => log.trouble,
    );
    assert.match(lost[0]!.message, /^stream BP_test-\d+_0 is gone\. It is not made again/);
    await assert.rejects(logs.open(), { message: /is not there: backplane cluster init/ });
    const form = partitionForm(logs.cluster, 0, { bytesMax: 64 * MiB, ageMsMax: 0, replicas: 1 });
    await makeStream(manager, form, 'fedcba9876543210');
    const other = await logs.open(64 * MiB, { onLost: (cause) => lost.push(cause), times: { silenceMs: 600 } });
    await manager.streams.delete(`BP_${logs.cluster}_0`);
    await makeStream(manager, form, '0000000000000000');
    await until(
      'it is another',
      () => lost.length > 1,
      () => other.trouble,
    );
    assert.match(lost[1]!.message, /is not the one that it was: its identity is 0{16}, it was fedcba9876543210/);
  });
});

test('a frame that this broker appends is not decoded again when it is read back, others are', { skip }, async () => {
  await withLogs(async (logs) => {
    const [one, other] = [await logs.open(), await logs.another()];
    const told: LogEntry[] = [];
    const toldOther: LogEntry[] = [];
    one.follow((entry) => told.push(entry));
    other.follow((entry) => toldOther.push(entry));
    const frames = [frameOf(0, 1, 100), frameOf(1, 2, 100)];
    const bytes = frames.map(encodeFrame);
    await one.append('a', frames[0]!, bytes[0]!);
    await other.append('a', frames[1]!, bytes[1]!);
    await until('both have both', () => told.length === 2 && toldOther.length === 2);
    assert.deepEqual(
      [told, toldOther].map((entries) => entries.map(({ frame }, at) => frame === frames[at])),
      [
        [true, false],
        [false, true],
      ],
    );
    for (const entries of [told, toldOther]) {
      assert.deepEqual(
        entries.map(({ frame }) => encodeFrame(frame)),
        bytes,
      );
    }
  });
});

test('what others put into the stream against the rule is passed over, clipped or told, by all alike', {
  skip,
}, async () => {
  await withLogs(async (logs) => {
    const [one, other] = [await logs.open(), await logs.another()];
    const [told, toldOther] = [new Told(one), new Told(other)];
    const { client } = logs.link(one);
    const put = async (frame: Frame) => {
      const headers = natsHeaders();
      for (const [, name, value] of coverText(frame).matchAll(/(\S+): (.*)\r\n/g)) headers.set(name!, value!);
      await client.publish(`bp.${logs.cluster}.0.f.process.a`, encodeFrame(frame), { headers });
    };
    for (const [from, to] of [
      [0, 10],
      [0, 10],
      [3, 7],
      [5, 12],
    ] as const)
      await put(frameOf(from, to, 50));
    await put({ ...frameOf(20, 25, 50), continues: true });
    await client.publish(`bp.${logs.cluster}.0.f.process.a`, 'no frame at all');
    await append(one, 25, 30);
    await until('the other has it', () => other.coveredTo('a', 'process')?.timeNs === 30n);
    assert.deepEqual(told.stretches, ['a 0-10', 'a 10-12', 'a 20-25', 'a 25-30']);
    assert.deepEqual(toldOther.stretches, told.stretches);
    assert.deepEqual(told.losses, [{ kind: 'passed', offsetFrom: 6, offsetTo: 7 }]);
    const kinds: string[] = [];
    const reader = other.reader(1, PROCESS);
    for (let item = await reader.next(); item; item = await reader.next()) kinds.push(item.kind);
    assert.deepEqual(kinds, ['frame', 'frame', 'frame', 'frame', 'frame', 'damage', 'frame']);
  });
});

test('a frame that NATS takes with its headers is taken, one byte more is refused, and so is one behind a hole', {
  skip,
}, async () => {
  await withLogs(async (logs) => {
    const log = await logs.open();
    const frame = frameOf(0, 1, 100);
    const error = await log.append('a', frame, Buffer.alloc(1 * MiB)).catch((cause: BackplaneError) => cause);
    const [, bytesMax] = /^frame: NATS takes at most (\d+) bytes, got 1048576$/.exec((error as Error).message) ?? [];
    await assert.rejects(log.append('a', frame, Buffer.alloc(Number(bytesMax) + 1)), { code: 'too_large' });
    await log.append('a', frame, Buffer.alloc(Number(bytesMax)));
    // Its sequence takes fewer digits than there may be.
    assert.ok(1 * MiB - Number(bytesMax) < 200);
    const other = await logs.another();
    const behind = { ...frameOf(5, 9, 100), continues: true };
    const refused = {
      code: 'failed_precondition',
      message: /covered_from must be 1:1:0:0, up to where .* got 1:5:0:0/,
    };
    await assert.rejects(other.append('a', behind, encodeFrame(behind)), refused);
  });
});

test('a broker that starts reads from the newest checkpoint on', { skip }, async () => {
  await withLogs(async (logs) => {
    const log = await logs.open(256 * 1024);
    for (let at = 0; at < 300; at++) await append(log, at, at + 1, `n${at % 7}`);
    await log.settled();
    const other = await logs.another();
    assert.equal(other.markBefore(2), undefined, 'the first messages are not read again');
    for (let at = 0; at < 7; at++)
      assert.deepEqual(other.coveredTo(`n${at}`, 'process'), log.coveredTo(`n${at}`, 'process'));
    assert.equal(other.deliverableOffset, log.deliverableOffset);
  });
});

test('a checkpoint that cannot be read is as good as none', { skip }, async () => {
  await withLogs(async (logs) => {
    const log = await logs.open();
    await append(log, 0, 2);
    const [part] = checkpointParts({ before: 1, covered: new CoveredPositions(), lastOf: new Map() });
    const { checkpoint } = new PartitionSubjects(logs.cluster, 0);
    await logs.link(log).client.publish(checkpoint, Buffer.from('nothing'), { headers: part!.headers });
    await append(log, 2, 4);
    const another = await logs.another();
    assert.deepEqual(another.coveredTo('a', 'process'), frameOf(2, 4, 100).coveredTo);
  });
});
