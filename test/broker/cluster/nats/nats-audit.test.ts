/** The audit on a stream keeps the contract of audit logs, and loses nothing where answers are lost. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { auditStream } from '../../../../src/broker/cluster/nats/coordination-streams.js';
import { NatsAudit } from '../../../../src/broker/cluster/nats/nats-audit.js';
import { DocumentBatch, decodeBatch } from '../../../../src/broker/log/documents/document-batch.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { AUDIT_MESSAGE_BYTES_MAX, KiB } from '../../../../src/limits.js';
import { auditLogContract } from '../../../contract/audit-log.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { NatsServers } from '../../../harness/nats/nats-servers.js';
import { linkTo, newCluster } from '../../../harness/nats/state-under-test.js';

const skip = needsNats();
let servers: NatsServers;
let link: NatsLink;

if (skip === false) {
  before(async () => {
    servers = await NatsServers.start();
    link = await linkTo(servers);
  });
  after(async () => {
    await link.close();
    await servers.destroy();
  });
  auditLogContract('nats', async () => {
    const cluster = await newCluster(link, { max_bytes: 64 * KiB });
    const stream = auditStream(cluster, 'b1');
    let writeMs = 10_000;
    return {
      open: () =>
        new NatsAudit({
          link,
          ...stream,
          get writeMs() {
            return writeMs;
          },
        }),
      entries: () => entriesIn(stream.stream),
      breakIt: async () => {
        writeMs = 200;
        await link.manager.streams.update(stream.stream, { sealed: true } as object);
      },
      destroy: async () => undefined,
    };
  });
}

/** What the entries said, oldest first. */
async function entriesIn(stream: string): Promise<{ readonly number: number }[]> {
  const { state } = await link.manager.streams.info(stream);
  const entries: { readonly number: number }[] = [];
  for (let sequence = state.first_seq; sequence <= state.last_seq; sequence++) {
    const { data } = (await link.manager.streams.getMessage(stream, { seq: sequence }))!;
    const batch = new DocumentBatch(decodeBatch(Buffer.from(data)), 1, sequence, 0n, undefined);
    entries.push(...batch.documents.map((_, at) => batch.event(at).audit!.details as unknown as { number: number }));
  }
  return entries;
}

test('answers that are lost: each entry is there once, in its order, also after a restart', { skip }, async () => {
  const cluster = await newCluster(link);
  const stream = auditStream(cluster, 'b1');
  let calls = 0;
  const client = Object.create(link.client, {
    publish: {
      value: async (...given: Parameters<NatsLink['client']['publish']>) => {
        const answer = await link.client.publish(...given);
        if (calls++ % 2 === 0) throw new Error('lost on the way back');
        return answer;
      },
    },
  });
  for (const begin of [0, 5]) {
    const audit = new NatsAudit({ link: { ...link, client }, ...stream });
    await Promise.all([0, 1, 2, 3, 4].map((at) => audit.append([{ number: begin + at }])));
  }
  assert.deepEqual(
    (await entriesIn(stream.stream)).map(({ number }) => number),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
});

test('many entries at once take several messages; one that is too long for any is refused', { skip }, async () => {
  const cluster = await newCluster(link);
  const stream = auditStream(cluster, 'b1');
  const audit = new NatsAudit({ link, ...stream });
  const text = 'x'.repeat(AUDIT_MESSAGE_BYTES_MAX / 3);
  await audit.append([0, 1, 2, 3, 4].map((number) => ({ number, text })));
  assert.deepEqual(
    (await entriesIn(stream.stream)).map(({ number }) => number),
    [0, 1, 2, 3, 4],
  );
  assert.ok((await link.manager.streams.info(stream.stream)).state.messages > 1);
  await assert.rejects(audit.append([{ text: text.repeat(4) }]), { code: 'resource_exhausted' });
});
