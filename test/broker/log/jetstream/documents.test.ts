/** Logs of documents on JetStream: the contract, that of the audit, and what only a log that others keep can suffer. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AuditDocuments } from '../../../../src/broker/cluster/audit-documents.js';
import { DocumentSubjects, documentStream } from '../../../../src/broker/log/documents/document-streams.js';
import type { JetStreamDocumentLog } from '../../../../src/broker/log/documents/jetstream-document-log.js';
import { headers } from '../../../../src/broker/nats/nats-library.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { BackplaneError } from '../../../../src/errors.js';
import { AUDIT_MESSAGE_BYTES_MAX, KiB, MiB } from '../../../../src/limits.js';
import { auditLogContract } from '../../../contract/audit-log.js';
import { documentLogContract } from '../../../contract/document-log.js';
import { batchOf, idsIn, readLog } from '../../../harness/broker/documents.js';
import { JetStreamDocuments } from '../../../harness/nats/jetstream-documents.js';
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
  documentLogContract('jetstream', (wanted) => JetStreamDocuments.create(servers, wanted));
  auditLogContract('jetstream', async () => {
    const documents = await JetStreamDocuments.create(servers, { bytesMax: 64 * KiB }, 'audit');
    const { log } = documents;
    return {
      open: () => new AuditDocuments(log),
      entries: () => entriesIn(log),
      breakIt: async () => {
        const stream = documentStream(documents.cluster, 'audit');
        await documents.link.manager.streams.update(stream, { sealed: true } as object);
      },
      destroy: () => documents.destroy(),
    };
  });
}

/** What the entries said, oldest first. */
async function entriesIn(log: JetStreamDocumentLog): Promise<{ readonly number: number }[]> {
  await log.look();
  const read = await readLog(log, log.firstOffset);
  return read.flatMap((batch) => {
    if (typeof batch === 'string') return [];
    return batch.documents.flatMap((_, at) => {
      return batch.repeats(at) ? [] : [batch.event(at).audit!.details as unknown as { number: number }];
    });
  });
}

/** Of every two answers the first is lost. */
function losingAnswers(link: NatsLink): NatsLink {
  let calls = 0;
  const publish = async (...given: Parameters<NatsLink['client']['publish']>) => {
    const answer = await link.client.publish(...given);
    if (calls++ % 2 === 0) throw new Error('lost on the way back');
    return answer;
  };
  // Its getters go on to be those of the link.
  return Object.create(link, { client: { value: Object.create(link.client, { publish: { value: publish } }) } });
}

async function withDocuments(
  run: (documents: JetStreamDocuments) => Promise<void>,
  ...[wanted, name, options]: [
    Parameters<typeof JetStreamDocuments.create>[1]?,
    Parameters<typeof JetStreamDocuments.create>[2]?,
    Parameters<typeof JetStreamDocuments.create>[3]?,
  ]
): Promise<void> {
  const documents = await JetStreamDocuments.create(servers, wanted, name, options);
  try {
    await run(documents);
  } finally {
    await documents.destroy();
  }
}

test('answers are lost: each entry of the audit is there once, in its order', { skip }, async () => {
  await withDocuments(
    async ({ log }) => {
      const audit = new AuditDocuments(log);
      await Promise.all([0, 1, 2, 3, 4, 5].map((number) => audit.append([{ number }])));
      const numbers = (await entriesIn(log)).map(({ number }) => number);
      assert.deepEqual(numbers, [0, 1, 2, 3, 4, 5]);
    },
    {},
    'audit',
    { link: losingAnswers(await linkTo(servers)) },
  );
});

test('many entries at once take several messages; one that is too long for any is refused', { skip }, async () => {
  await withDocuments(
    async ({ log }) => {
      const audit = new AuditDocuments(log);
      const text = 'x'.repeat(AUDIT_MESSAGE_BYTES_MAX / 3);
      await audit.append([0, 1, 2, 3, 4].map((number) => ({ number, text })));
      assert.deepEqual(
        (await entriesIn(log)).map(({ number }) => number),
        [0, 1, 2, 3, 4],
      );
      assert.ok(log.stored.batches > 1);
      await assert.rejects(audit.append([{ text: text.repeat(4) }]), { code: 'resource_exhausted' });
    },
    {},
    'audit',
  );
});

test('two brokers store one id at once, and one message is stored twice: all pass the later over', {
  skip,
}, async () => {
  await withDocuments(async (documents) => {
    const { log, cluster, link } = documents;
    const other = await documents.another();
    const racing = (at: number) => [log, other].map((each) => each.append(batchOf('app.a', [`r${at}`, `r${at}`, 'x'])));
    for (let at = 0; at < 20; at++) {
      const [one, two] = await Promise.all(racing(at));
      assert.equal(one!.duplicates + two!.duplicates, at === 0 ? 4 : 5, `${at}`);
    }
    const subjects = new DocumentSubjects(cluster, 'app');
    // As a leader that dies may do it.
    const kept = (await link.manager.streams.getMessage(documentStream(cluster, 'app'), { seq: 1 }))!;
    await link.client.publish(subjects.batch('app.a'), kept.data, { headers: kept.header });
    await log.append(batchOf('app.a', ['end']));
    const ids = ['r0', 'x', ...Array.from({ length: 19 }, (_, at) => `r${at + 1}`), 'end'];
    for (const each of [log, other, await documents.another()]) {
      await until('all is read', () => each.deliverableOffset >= log.deliverableOffset);
      assert.deepEqual(idsIn(await readLog(each, 1)), ids);
    }
  });
});

test('what was passed over stays passed over when a broker begins at a checkpoint', { skip }, async () => {
  const window = { windowOf: () => ({ ageMsMax: 60_000, countMax: 1_000 }), windowMsMax: { app: 0, alert: 0 } };
  await withDocuments(
    async (documents) => {
      const { log, link, cluster } = documents;
      await log.append(batchOf('app.a', ['1', '2']));
      const kept = (await link.manager.streams.getMessage(documentStream(cluster, 'app'), { seq: 1 }))!;
      await link.client.publish(new DocumentSubjects(cluster, 'app').batch('app.a'), kept.data);
      const text = 'x'.repeat(20_000);
      for (let at = 0; at < 30; at++) await log.append(batchOf('app.flood', [String(at)], text));
      await log.settled();
      const other = await documents.another();
      assert.deepEqual(idsIn(await readLog(other, 1, ['app.a'])), ['1', '2']);
      assert.equal(other.deliverableOffset, log.deliverableOffset);
    },
    { bytesMax: 4 * MiB, ids: window },
  );
});

test('a batch that is longer than a message of NATS is compressed; one that stays longer is refused', {
  skip,
}, async () => {
  await withDocuments(async ({ log }) => {
    const ids = Array.from({ length: 60 }, (_, at) => String(at));
    await log.append(batchOf('app.a', ids, 'x'.repeat(30_000)));
    assert.deepEqual(idsIn(await readLog(log, 1)), ids);
    const long = ids.map((id) => batchOf('app.a', [`n${id}`], randomBytes(22_000).toString('base64')));
    const documents = long.flatMap((each) => each.documents);
    await assert.rejects(log.append({ ...long[0]!, documents }), { code: 'too_large' });
  });
});

test('the stream is deleted: the log ends with one sentence, and does not make it again', { skip }, async () => {
  const lost: string[] = [];
  const options = {
    onLost: (cause: BackplaneError) => lost.push(cause.message),
    times: { silenceMs: 100, retryMsMin: 50 },
  };
  await withDocuments(
    async ({ log, cluster, link }) => {
      await log.append(batchOf('app.a', ['1']));
      const stream = documentStream(cluster, 'app');
      await link.manager.streams.delete(stream);
      await until('that it is told', () => lost.length > 0);
      assert.match(lost[0]!, new RegExp(`^stream ${stream} is gone`));
      await assert.rejects(link.manager.streams.info(stream));
    },
    {},
    'app',
    options,
  );
});

test('a server that lost its end: the log goes back, followers are told, marks say so, ids count anew', {
  skip,
}, async () => {
  const rewound: number[] = [];
  const options = { onRewound: (_stream: string, offset: number) => rewound.push(offset), times: { retryMsMin: 50 } };
  await withDocuments(
    async ({ log }) => {
      for (let at = 0; at < 10; at++) await log.append(batchOf('app.a', [String(at)]));
      const told: (string | number)[] = [];
      log.follow({ stored: (batch) => told.push(...idsIn([batch])), rewound: (offset) => told.push(offset) });
      const mark = log.markBefore(11)!;
      const { first } = servers;
      const [store, copy] = ['jetstream', 'copy'].map((name) => join(first.dir, name)) as [string, string];
      await first.stop();
      cpSync(store, copy, { recursive: true });
      first.start();
      await first.ready();
      const lost = Array.from({ length: 5 }, (_, at) => String(10 + at));
      for (const id of lost) await append(log, id);
      const lostMark = log.markBefore(16)!;
      await first.kill();
      rmSync(store, { recursive: true });
      cpSync(copy, store, { recursive: true });
      first.start();
      await first.ready();
      await until('the log knows', () => rewound.length > 0);
      assert.deepEqual(rewound, [11]);
      await append(log, '10');
      await append(log, 'new');
      assert.deepEqual(told, [...lost, 11, '10', 'new']);
      assert.deepEqual(idsIn(await readLog(log, 1)), [...Array.from({ length: 11 }, (_, at) => String(at)), 'new']);
      assert.equal(await log.hasMark(11, mark), true);
      assert.equal(await log.hasMark(16, lostMark), false, 'a cursor of what was lost is recognised');
    },
    {},
    'app',
    options,
  );
});

test('where no consumer can be made, documents are read from their leader, also where nobody appends', { skip }, () =>
  withDocuments(async (documents) => {
    let isInVain = false;
    const open = async () => {
      const link = await linkTo(servers);
      const add = async (...given: Parameters<NatsLink['manager']['consumers']['add']>) => {
        if (isInVain) throw new Error('the servers have no leader');
        return link.manager.consumers.add(...given);
      };
      const consumers = Object.create(link.manager.consumers, { add: { value: add } });
      const manager = Object.create(link.manager, { consumers: { value: consumers } });
      const own = Object.create(link, { manager: { value: manager } });
      return documents.another({ link: own, times: { silenceMs: 400 } });
    };
    const [one, other] = [await open(), await open()];
    const heard: number[] = [];
    other.follow({
      stored: ({ offset }) => heard.push(offset),
      rewound: (offset) => assert.fail(`rewound to ${offset}`),
    });
    await one.append(batchOf('app.a', ['1']));
    isInVain = true;
    const stream = documentStream(documents.cluster, 'app');
    const { consumers } = documents.link.manager;
    for await (const { name } of consumers.list(stream)) {
      await consumers.pause(stream, name, new Date(Date.now() + 3_600_000));
    }
    const { offset } = await one.append(batchOf('app.a', ['2']));
    await until('the other hears of it', () => heard.includes(offset));
  }),
);

test('a leader that said more than the servers have in the end does not keep a broker from beginning', { skip }, () =>
  withDocuments(async (documents) => {
    await documents.log.append(batchOf('app.a', ['1']));
    const link = await linkTo(servers);
    let asked = 0;
    const info = async (...given: Parameters<NatsLink['manager']['streams']['info']>) => {
      const found = await link.manager.streams.info(...given);
      if (asked++ === 0) found.state.last_seq += 5;
      return found;
    };
    const streams = Object.create(link.manager.streams, { info: { value: info } });
    const manager = Object.create(link.manager, { streams: { value: streams } });
    const own = Object.create(link, { manager: { value: manager } });
    const other = await documents.another({ link: own, times: { silenceMs: 400 } });
    assert.ok(asked > 1);
    assert.deepEqual(idsIn(await readLog(other, 1)), ['1']);
    assert.equal(other.deliverableOffset, 2);
    const told: string[] = [];
    other.follow({ stored: (batch) => told.push(...idsIn([batch])) });
    await append(other, '2');
    assert.deepEqual(told, ['2']);
  }),
);

/** As a client does: again until it is acknowledged. */
async function append(log: JetStreamDocumentLog, id: string): Promise<void> {
  await until(`${id} is stored`, async () => {
    const appended = await log.append(batchOf('app.a', [id])).catch((cause: BackplaneError) => cause);
    if (appended instanceof BackplaneError && appended.code !== 'unavailable') throw appended;
    return !(appended instanceof BackplaneError);
  });
}

test('a checkpoint that no broker writes is passed over', { skip }, async () => {
  const documents = await JetStreamDocuments.create(servers);
  await documents.log.append(batchOf('app.a', ['1']));
  const written = headers();
  written.set('Bp-Before', '1');
  written.set('Bp-Time', '1');
  const { checkpoint } = new DocumentSubjects(documents.cluster, 'app');
  for (const body of ['', 'nothing']) await documents.link.client.publish(checkpoint, body, { headers: written });
  await documents.log.append(batchOf('app.a', ['2']));
  const another = await documents.another();
  assert.deepEqual(idsIn(await readLog(another, 1)), ['1', '2']);
  await documents.destroy();
});
