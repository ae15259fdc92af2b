/** Format files: what they may say, what decoders make of payloads that lie. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BackplaneError } from '../../../../src/errors.js';
import { compileDecoder } from '../../../../src/sensor-agent/source/pages/decoder.js';
import { eventFlags, eventPid, FormatTable, parseFormat } from '../../../../src/sensor-agent/source/pages/format.js';
import { liveTracefs } from '../../../harness/kernel/live-kernel.js';

const COMMON =
  '\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n' +
  '\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n' +
  '\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n';

function format(fields: string, id = 70): string {
  return `name: e\nID: ${id}\nformat:\n${COMMON}${fields}\nprint fmt: ""\n`;
}

function line(declaration: string, offset: number, size: number, signed = 0): string {
  return `\tfield:${declaration};\toffset:${offset};\tsize:${size};\tsigned:${signed};\n`;
}

test('fields of every kind are read by their declaration', () => {
  const fields =
    line('bool b', 8, 1) +
    line('short s', 10, 2, 1) +
    line('enum zone z', 12, 4, 1) +
    line('const void * p', 16, 8) +
    line('long n', 24, 8, 1) +
    line('char comm[TASK_COMM_LEN]', 32, 16, 1) +
    line('__u8 addr[4]', 48, 4) +
    line('unsigned long args[2]', 56, 16) +
    line('__data_loc char[] name', 72, 4) +
    line('__rel_loc char[] tail', 76, 4) +
    line('__data_loc u8[] raw', 80, 4) +
    line('struct odd o', 84, 12);
  const payload = Buffer.alloc(120);
  payload[8] = 1;
  payload.writeInt16LE(-2, 10);
  payload.writeInt32LE(-3, 12);
  payload.writeBigUInt64LE(0xffff888000000001n, 16);
  payload.writeBigInt64LE(-5n, 24);
  payload.write('sh', 32);
  payload.set([10, 0, 0, 1], 48);
  payload.writeBigUInt64LE(7n, 56);
  payload.writeBigUInt64LE(8n, 64);
  payload.writeUInt32LE((6 << 16) | 100, 72);
  payload.write('/bin/', 100);
  payload.writeUInt32LE((3 << 16) | (106 - 80), 76);
  payload.write('é', 106);
  payload.writeUInt32LE((2 << 16) | 110, 80);
  payload.set([1, 2], 110);
  const parsed = parseFormat('g/e', format(fields));
  const decoded = parsed.decode(Buffer.concat([Buffer.alloc(3), payload]), 3, payload.length);
  assert.deepEqual(decoded, {
    b: true,
    s: -2,
    z: -3,
    p: 0xffff888000000001n,
    n: -5n,
    comm: 'sh',
    addr: [10, 0, 0, 1],
    args: [7n, 8n],
    name: '/bin/',
    tail: 'é',
    raw: [1, 2],
    o: new Array(12).fill(0),
  });
  const narrow = compileDecoder(parsed.fields, { only: new Set(['n']), safe: new Set(['n']) });
  assert.deepEqual(narrow(payload, 0, payload.length), { n: -5 });
});

test('a location outside the entry reads as empty and a short entry as zeros, never as the next entry', () => {
  const { decode } = parseFormat('g/e', format(line('__data_loc char[] name', 8, 4) + line('int n', 12, 4, 1)));
  const page = Buffer.alloc(64, 'x');
  page.writeInt32LE(77, 12);
  for (const [length, offset] of [
    [8, 16],
    [9, 17],
    [1, 65_535],
    [65_535, 0],
  ] as const) {
    page.writeUInt32LE(((length << 16) | offset) >>> 0, 8);
    assert.deepEqual(decode(page, 0, 16), { name: '', n: 77 });
  }
  page.writeUInt32LE((8 << 16) | 16, 8);
  assert.deepEqual(decode(page, 0, 24), { name: 'xxxxxxxx', n: 77 });
  assert.deepEqual(decode(page, 0, 8), { name: '', n: 0 });
  assert.equal(decode(page, 60, 24).n, 0);
  assert.equal(eventPid(page, 0, 4), 0);
  assert.equal(eventFlags(page, 0, 2), 0);
});

test('a text that is no format file is refused, naming the event', () => {
  for (const [text, expected] of [
    ['', /g\/e must be named/],
    [format('').replace('name: e', 'name: f'), /g\/e must be named group\/event like its text, got f/],
    [format('', 0), /ID from 1 to 65535/],
    [format('', 65_536), /ID from 1 to 65535/],
    [format('\tfield:int x; offset:8;\n'), /field lines/],
    [format(line('int x"); process.exit(1); ("', 8, 4)), /must be/],
    [format(line('int __proto__', 8, 4)), /plain field names, got __proto__/],
    [format(line('int x', 70_000, 4)), /inside a page, got a field at offset 70000/],
    [format(line('int x', 8, 4).repeat(300)), /at most 256 fields/],
    [format('').replace('offset:4', 'offset:6'), /given common_pid at offset 4/],
    [format('x'.repeat(70_000)), /at most 65536 bytes/],
  ] as const) {
    assert.throws(
      () => parseFormat('g/e', text),
      (error) => error instanceof BackplaneError && error.code === 'damaged' && expected.test(error.message),
    );
  }
});

test('a format table is the same after conversion to plain data and back', () => {
  const table = FormatTable.parse({ 'g/e': format(line('int n', 8, 4, 1)) });
  const again = FormatTable.parse(JSON.parse(JSON.stringify(table.texts())));
  assert.deepEqual(again.texts(), table.texts());
  assert.deepEqual(again.byName('g/e')?.fields, table.byId(70)?.fields);
  assert.equal(again.byName('e')?.field('n')?.offset, 8);
  const wanted = table.wanted(['e', 'unknown']);
  assert.equal(wanted[70], 1);
  assert.equal(
    wanted.reduce((sum, one) => sum + one, 0),
    1,
  );
  const many = Object.fromEntries(Array.from({ length: 4097 }, (_, i) => [`g/e${i}`, '']));
  assert.throws(() => FormatTable.parse(many), /formats must be at most 4096, got 4097/);
});

const live = liveTracefs();
test('every event format of this kernel is parsed, and decodes zeros', { skip: live.skip }, () => {
  let parsed = 0;
  for (const group of readdirSync(join(live.path, 'events'), { withFileTypes: true })) {
    // Probes of agents beside this test come and go.
    if (!group.isDirectory() || group.name === 'ftrace' || group.name.startsWith('backplane')) continue;
    for (const event of readdirSync(join(live.path, 'events', group.name), { withFileTypes: true })) {
      if (!event.isDirectory()) continue;
      const text = readFileSync(join(live.path, 'events', group.name, event.name, 'format'), 'utf8');
      const one = parseFormat(`${group.name}/${event.name}`, text);
      assert.equal(Object.keys(one.decode(Buffer.alloc(8), 0, 8)).length, new Set(one.fields.map((f) => f.name)).size);
      parsed++;
    }
  }
  assert.ok(parsed > 500);
});
