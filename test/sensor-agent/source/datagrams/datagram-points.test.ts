/** Probes of datagrams on the real kernel: what they tell, what they never record, and that none is left behind. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { allDefinitions } from '../../../../src/sensor-agent/source/probe/definitions.js';
import { profileEvents } from '../../../../src/sensor-agent/source/tracefs/profile-events.js';
import { TracefsSource } from '../../../../src/sensor-agent/source/tracefs/tracefs-source.js';
import { STANDING_CONDITIONS } from '../../../../src/subscriptions/pushdown/catalogue.js';
import { cannotProbeKernel, liveTracefs, Recording } from '../../../harness/kernel/live-kernel.js';
import { until } from '../../../harness/until.js';

const recorderId = `test-${process.pid}-datagrams`;

/** Looks for a text in all that is to be recorded. */
class Searching extends Recording {
  found = false;
  readonly #text: string;

  constructor(source: TracefsSource, text: string) {
    super(() => source.formats, false);
    this.#text = text;
  }

  override page(page: { lane: number; bytes: Buffer; lost: number }): void {
    this.found ||= page.bytes.includes(this.#text);
    super.page(page);
  }
}

/** A question of type A for `MARK.invalid`. */
function question(mark: string): Buffer {
  const labels = [mark, 'invalid'].flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

test('a datagram is told with its socket and both ends, its question beside the pages only', {
  skip: cannotProbeKernel(),
}, async () => {
  const mark = randomBytes(12).toString('hex');
  const source = new TracefsSource({ recorderId, arguments: 'none', onDemand: profileEvents('udp') });
  const seen = new Searching(source, mark);
  try {
    await source.start(seen);
    const { events, filter, switch: turn } = source.onDemand!;
    const probes = [...events].filter((event) => event.includes('_recorded/udp_'));
    const names = probes.map((event) => event.split('/')[1]);
    for (const name of ['udp_connect', 'udp_send', 'udp_query', 'udp_end'])
      assert.ok(names.includes(name), `${name} of ${names.join()}: ${seen.notes.join()}`);
    for (const event of probes) {
      const condition = STANDING_CONDITIONS.get(event.split('/')[1]!);
      filter(event, condition && [condition]);
      turn(event, true);
    }
    const socket = dgram.createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    socket.connect(53, '127.0.0.1');
    await once(socket, 'connect');
    // Nobody may listen there: then a later call fails.
    socket.on('error', () => undefined);
    await new Promise<void>((done) => socket.send(question(mark), () => done()));
    await new Promise<void>((done) => socket.close(() => done()));
    const ours = (name: string, key: string, value: number) =>
      seen.named(name).find(({ fields }) => fields[key] === value);
    await until(
      'the end of the socket and the question',
      () => {
        source.drain();
        return seen.asked.some(({ question: asked }) => asked?.name === `${mark}.invalid`) || undefined;
      },
      () => `${seen.events.length} events, ${seen.asked.length} questions`,
    );
    const inPacket = ((port & 0xff) << 8) | (port >>> 8);
    const connected = ours('udp_connect', 'local_port', port)!.fields;
    const sent = ours('udp_send', 'local_port', inPacket)!.fields;
    const asked = ours('udp_query', 'local_port', inPacket)!;
    assert.equal(connected.socket, sent.socket);
    assert.deepEqual([sent.local, sent.peer, sent.peer_port], [[127, 0, 0, 1], [127, 0, 0, 1], 0x3500]);
    const copy = seen.asked.find(({ question: one }) => one?.name === `${mark}.invalid`)!;
    assert.deepEqual([copy.packet, copy.localPort, copy.question!.type], [asked.fields.packet, port, 'A']);
    assert.ok(copy.timeNs <= asked.timeNs && asked.timeNs - copy.timeNs < 1_000_000n, `${copy.timeNs} ${asked.timeNs}`);
    await until(
      'the end of the socket',
      () => {
        source.drain();
        return seen.named('udp_end').some(({ fields }) => fields.socket === sent.socket) || undefined;
      },
      () => seen.events.length,
    );
    assert.ok(!seen.found, 'what was asked is in the pages');
  } finally {
    await source.stop();
  }
  const { path } = liveTracefs();
  const group = `backplane_${recorderId.replaceAll('-', '_')}`;
  assert.deepEqual(
    allDefinitions(path)?.filter((event) => event.startsWith(group)),
    [],
  );
  assert.deepEqual(
    readdirSync(join(path, 'instances')).filter((name) => name.includes(recorderId)),
    [],
  );
});
