/**
 * What an earlier build wrote is read: its recording, its log, its documents, its state and its cursors.
 *
 * data-of-2b51aed8.tar.gz is the data directory of `backplane up` of that commit, the last before brokers on NATS, with the
 * synthetic source at 20 events a second; meanwhile events were observed, one was published, and a budget was set.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { crc32 } from 'node:zlib';
import type { StreamConfig } from '@nats-io/jetstream';
import { TopicEnds } from '../../src/broker/log/documents/topic-ends.js';
import { differences } from '../../src/broker/nats/stream-form.js';
import { decodeSegmentHeader, encodeSegmentHeader, HEADER_BYTES } from '../../src/storage/segment-log/format.js';
import { Bus, Command } from '../harness/bus/bus.js';

const DATA = 'test/upgrades/data-of-2b51aed8.tar.gz';
/** As that build printed it after `observe --topic process --follow --limit 10`, with the position of its tenth event. */
const CURSOR = 'mQTECB_AM6_8Hoexz46TGZM21NmpwMCYkwXO44SipgKSAACSAACSAACSAACSAACSAACSAACQwJPAwMB9h0wn';
const UP_TO_NS = '63906526693324';
/** The events that another `observe` of that build told some time later. */
const TOLD_NS = [
  ...['63907326693324', '63907526693324', '63907576693324', '63907626693324', '63907676693324'],
  ...['63907726693324', '63907926693324', '63907976693324', '63908026693324', '63908076693324'],
];
const KEPT = {
  BACKPLANE_LOG_AGE_MAX: '3650d',
  BACKPLANE_RECORDER_AGE_MAX: '3650d',
  BACKPLANE_APP_LOG_AGE_MAX: '3650d',
};

after(() => Command.killAll());

test('recording, logs, state and cursors of the build before brokers on NATS are read', async (t) => {
  const bus = await Bus.prepared();
  t.after(() => bus.destroy());
  execFileSync('tar', ['-xzf', DATA, '-C', bus.dataDir]);
  await bus.start({ ...KEPT, BACKPLANE_SOURCE: 'synthetic', BACKPLANE_SYNTHETIC_RATE: '1' });
  const observed = async (...args: string[]) => {
    const command = new Command(['observe', '-o', 'json', ...args], bus.env);
    assert.equal(await command.exited, 0, command.said);
    return command.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { readonly type: string; readonly position: { readonly timeNs: string } });
  };
  const times = (events: Awaited<ReturnType<typeof observed>>) => events.map(({ position }) => position.timeNs);
  // The log, from where the cursor is.
  const resumed = times(await observed('--topic', 'process', '--cursor', CURSOR));
  assert.ok(!resumed.includes(UP_TO_NS));
  assert.deepEqual(
    TOLD_NS.filter((ns) => !resumed.includes(ns)),
    [],
  );
  // The recording, of which the log has a part: also what nobody had asked for.
  const past = await observed('--topic', 'process', '--since', '2026-11-30T03:00:00Z');
  assert.deepEqual(
    [UP_TO_NS, ...TOLD_NS].filter((ns) => !times(past).includes(ns)),
    [],
  );
  assert.ok(past.findIndex(({ position }) => position.timeNs === UP_TO_NS) > 10);
  const [said] = await observed('--topic', 'app.old', '--since', '2026-11-30T03:00:00Z');
  assert.equal(said?.type, 'app.old.said');
  const nodes = new Command(['nodes', '-o', 'json'], bus.env);
  await nodes.exited;
  assert.match(nodes.stdout, /"liveEventsPerSecond":"?777/);
  const files = readdirSync(bus.dataDir, { recursive: true, encoding: 'utf8' });
  assert.deepEqual(
    files.filter((name) => /damaged|version-/.test(name)),
    [],
  );
});

test('what another version wrote is known by its number', () => {
  const header = encodeSegmentHeader({ identity: 1n, salt: 2, firstOrdinal: 3, createdNs: 4n, headRecords: 5 });
  assert.equal((decodeSegmentHeader(header) as { readonly firstOrdinal: number }).firstOrdinal, 3);
  header.writeUInt16LE(2, 8);
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
  assert.throws(
    () => decodeSegmentHeader(header),
    /^BackplaneError: is of format version 2, and this program reads version 1/,
  );
  const ends = TopicEnds.before(7, 8n).encode();
  assert.notEqual(TopicEnds.decode(ends), undefined);
  // The first element of an array of two.
  assert.equal(ends[1], 1);
  ends[1] = 2;
  assert.equal(TopicEnds.decode(ends), undefined);
  const form = { name: 'BP_prod_0', max_bytes: 1 };
  const metadata = { 'backplane.identity': '0123456789abcdef', 'backplane.version': '2' };
  assert.deepEqual(differences(form, { ...form, metadata } as unknown as StreamConfig), [
    'its backplane.version is 2, this is 1',
  ]);
});
