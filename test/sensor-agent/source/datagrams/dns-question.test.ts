/** What datagrams ask of DNS, from their bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readDatagram } from '../../../../src/sensor-agent/source/datagrams/dns-question.js';
import { runs } from '../../../harness/runs.js';

interface Message {
  readonly labels?: readonly Buffer[];
  readonly type?: number;
  readonly flags?: number;
  readonly questions?: number;
}

const label = (text: string) => Buffer.from(text, 'latin1');

function message({
  labels = [label('example'), label('org')],
  type = 1,
  flags = 0x0120,
  questions = 1,
}: Message): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(questions, 4);
  const name = labels.map((each) => Buffer.concat([Buffer.of(each.length), each]));
  const tail = Buffer.alloc(5);
  tail.writeUInt16BE(type, 1);
  tail.writeUInt16BE(1, 3);
  return Buffer.concat([head, ...name, tail]);
}

/** With what the kernel had behind it in memory. */
function packet(data: Buffer, version: 4 | 6, port = 53, optionsBytes = 0): Buffer {
  const header = Buffer.alloc(version === 4 ? 20 + optionsBytes : 40);
  header[0] = version === 4 ? 0x40 + header.length / 4 : 0x60;
  header[version === 4 ? 9 : 6] = 17;
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(40_000, 0);
  udp.writeUInt16BE(port, 2);
  udp.writeUInt16BE(8 + data.length, 4);
  return Buffer.concat([header, udp, data, Buffer.alloc(64, 0x61)]);
}

test('a question is read from datagrams of both families, with options and without', () => {
  const asked = { localPort: 40_000, question: { name: 'example.org', type: 'A' } };
  assert.deepEqual(readDatagram(packet(message({}), 4)), asked);
  assert.deepEqual(readDatagram(packet(message({}), 6)), asked);
  assert.deepEqual(readDatagram(packet(message({}), 4, 53, 8)), asked);
  const typed = (type: number) => readDatagram(packet(message({ type }), 4))?.question?.type;
  assert.deepEqual([28, 65, 255, 4_711].map(typed), ['AAAA', 'HTTPS', 'ANY', 'TYPE4711']);
});

test('names are written as RFC 4343 has it, and keep their case', () => {
  const named = (...labels: string[]) =>
    readDatagram(packet(message({ labels: labels.map(label) }), 4))?.question?.name;
  assert.equal(named('wWw', 'Example'), 'wWw.Example');
  assert.equal(named(), '.');
  assert.equal(named('a.b', '\\', ' ', '\0\xff'), 'a\\.b.\\\\.\\032.\\000\\255');
  assert.equal(named('x'.repeat(63)), 'x'.repeat(63));
});

test('what is no question to that port has none', () => {
  const none = { localPort: 40_000 };
  for (const odd of [{ flags: 0x8180 }, { flags: 0x2800 }, { questions: 0 }])
    assert.deepEqual(readDatagram(packet(message(odd), 4)), none, JSON.stringify(odd));
  assert.deepEqual(readDatagram(packet(message({}), 4, 5_353)), none);
  assert.deepEqual(readDatagram(packet(Buffer.from('no question'), 4)), none);
  const reference = message({});
  reference[12] = 0xc0;
  assert.deepEqual(readDatagram(packet(reference, 4)), none);
  // Longer than names may be: five labels of 63.
  assert.deepEqual(
    readDatagram(packet(message({ labels: Array(5).fill(label('x'.repeat(63))) as Buffer[] }), 4)),
    none,
  );
});

test('only what a datagram says that it has is looked at', () => {
  const whole = packet(message({}), 4);
  const length = whole.length - 64;
  for (let cut = 1; cut < 30; cut += 1) {
    const shorter = Buffer.from(whole);
    shorter.writeUInt16BE(length - 20 - cut, 24);
    assert.deepEqual(readDatagram(shorter), { localPort: 40_000 }, `${cut} bytes less`);
  }
  // Text behind it that goes on as a name would.
  const open = packet(Buffer.concat([message({}).subarray(0, 12), Buffer.of(20), Buffer.from('abc')]), 4);
  assert.deepEqual(readDatagram(open), { localPort: 40_000 });
});

test('any bytes are read to an end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 512 }), fc.constantFrom(0x45, 0x4f, 0x60), (bytes, first) => {
      const given = Buffer.from(bytes);
      if (given.length > 0) given[0] = first;
      const found = readDatagram(given);
      assert.ok(found === undefined || (found.localPort >= 0 && found.localPort <= 65_535));
      assert.ok((found?.question?.name.length ?? 0) <= 4 * 255);
    }),
    { numRuns: runs(500) },
  );
});

test('what is not in the copy is not taken from behind it, and said to be cut only where it would ask', () => {
  const whole = packet(message({}), 4);
  const end = whole.length - 64;
  const cut = (bytes: number, packetBytes = end) => readDatagram(whole.subarray(0, bytes), packetBytes);
  assert.deepEqual(cut(end), { localPort: 40_000, question: { name: 'example.org', type: 'A' } });
  for (const bytes of [end - 5, 20 + 8 + 12, 20 + 8 + 11]) {
    assert.deepEqual(cut(Math.max(bytes, 40)), { localPort: 40_000, isCut: true }, `${bytes}`);
  }
  // A length in the header of UDP that the packet does not have.
  assert.deepEqual(cut(whole.length, end - 5), { localPort: 40_000 });
  const answer = packet(message({ flags: 0x8180 }), 4);
  assert.deepEqual(readDatagram(answer.subarray(0, answer.length - 70), answer.length), { localPort: 40_000 });
});
