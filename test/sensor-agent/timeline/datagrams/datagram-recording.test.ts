/** What is told of datagrams live, and from any checkpoint of the recording on, is the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DATAGRAM_TOLD_NS } from '../../../../src/limits.js';
import { Recorder } from '../../../../src/sensor-agent/recorder/recorder.js';
import { Redactor } from '../../../../src/sensor-agent/redaction/redactor.js';
import { compileRules } from '../../../../src/sensor-agent/redaction/rule.js';
import { BUILTIN_FORMATS } from '../../../../src/sensor-agent/source/builtin-formats.js';
import { type EventFormat, FormatTable } from '../../../../src/sensor-agent/source/pages/format.js';
import { PageWriter } from '../../../../src/sensor-agent/source/synthetic/page-writer.js';
import { UNSYNCED } from '../../../harness/files/scratch.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { EVERYTHING, ORIGIN, replayed, Told, WALL_NS } from '../../../harness/recording-driver.js';
import { runs } from '../../../harness/runs.js';

const HEAD = [
  ...['unsigned short common_type;\toffset:0;\tsize:2', 'unsigned char common_flags;\toffset:2;\tsize:1'],
  ...['unsigned char common_preempt_count;\toffset:3;\tsize:1', 'int common_pid;\toffset:4;\tsize:4'],
];

/** Each field: its declaration and size, one behind the other. */
function formatText(name: string, id: number, fields: readonly (readonly [string, number])[]): string {
  let offset = 8;
  const lines = fields.map(([declaration, size]) => {
    const line = `${declaration};\toffset:${offset};\tsize:${size}`;
    offset += size;
    return line;
  });
  const all = [...HEAD, ...lines].map((line) => `\tfield:${line};\tsigned:0;\n`);
  return `name: ${name}\nID: ${id}\nformat:\n${all.join('')}`;
}

const SOCKET = ['u64 socket', 8] as const;
const PACKET = [
  ...([['u64 packet', 8], SOCKET, ['u8 header', 1], ['u8 protocol', 1], ['u8 local[4]', 4]] as const),
  ...([
    ['u8 peer[4]', 4],
    ['u16 local_port', 2],
    ['u16 peer_port', 2],
  ] as const),
];
const LOOKUP = [
  ...([
    ['u8 proto', 1],
    ['__u8 src[4]', 4],
    ['__u8 dst[4]', 4],
  ] as const),
  ...([
    ['u16 sport', 2],
    ['u16 dport', 2],
  ] as const),
];
const TABLE = FormatTable.parse({
  ...BUILTIN_FORMATS.texts(),
  'g_recorded/udp_send': formatText('udp_send', 3_001, PACKET),
  'g_recorded/udp_query': formatText('udp_query', 3_002, PACKET),
  'g_recorded/udp_end': formatText('udp_end', 3_003, [SOCKET]),
  'fib/fib_table_lookup': formatText('fib_table_lookup', 3_004, LOOKUP),
  'sock/sock_send_length': formatText('sock_send_length', 3_005, [
    ...([
      ['void * sk', 8],
      ['__u16 protocol', 2],
      ['int ret', 4],
    ] as const),
  ]),
  'syscalls/sys_enter_connect': formatText('sys_enter_connect', 3_006, [['int __syscall_nr', 4]]),
  'syscalls/sys_exit_connect': formatText('sys_exit_connect', 3_007, [['long ret', 8]]),
});

const step = fc.record({
  what: fc.constantFrom('send', 'query', 'end', 'asks', 'sends', 'connects', 'connected'),
  thread: fc.integer({ min: 1, max: 3 }),
  socket: fc.bigInt({ min: 1n, max: 3n }),
  port: fc.constantFrom(53, 4_711),
  afterNs: fc.constantFrom(2_000n, 2_000n, DATAGRAM_TOLD_NS / 2n),
  drains: fc.boolean(),
  crashes: fc.constantFrom(false, false, false, true),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A recorder that is given the entries of one lane, and beside them what datagrams asked. */
class Driver {
  recorder!: Recorder;
  readonly told = new Told();
  readonly #dir = scratchDirectory();
  #nowNs = 1_000_000_000n;
  #writer = new PageWriter(64 * 1024);
  #queries: Parameters<Recorder['queries']>[0][number][] = [];

  constructor() {
    this.open();
  }

  open(): void {
    this.#writer = new PageWriter(64 * 1024);
    this.#queries = [];
    const bounds = { bytesMax: 64 * 1024 * 1024, ageMsMax: 1e12, segmentBytesMax: 8 * 1024 };
    const redactor = new Redactor(compileRules({ rules: [], off: [] }));
    this.recorder = new Recorder({ dir: this.#dir, ...bounds, files: UNSYNCED, redactor }, EVERYTHING);
    this.recorder.tellTo(this.told);
    const clock = { bootNs: this.#nowNs, wallNs: WALL_NS + this.#nowNs };
    this.recorder.begin({ ...ORIGIN, formats: TABLE.texts() }, clock);
  }

  step(given: Step): void {
    this.#nowNs += given.afterNs;
    const { name, values } = entryOf(given);
    const format = TABLE.byName(name) as EventFormat;
    this.#writer.append({ format, timeNs: this.#nowNs, pid: given.thread, values });
    if (given.what === 'query')
      this.#queries.push({
        ...{ lane: 0, timeNs: this.#nowNs - 500n, pid: given.thread, packet: given.socket, localPort: 40_000 },
        ...(given.port === 53 ? { question: { name: `n${this.#nowNs}.example`, type: 'A' } } : {}),
      });
    if (given.drains) this.drain();
    if (given.crashes) {
      this.drain();
      this.open();
    }
  }

  drain(): void {
    const bytes = this.#writer.take();
    if (bytes) this.recorder.page({ lane: 0, bytes, lost: 0, lostUnknown: false });
    this.recorder.queries(this.#queries.splice(0));
    this.#nowNs += 1_000n;
    this.recorder.horizon(this.#nowNs);
    this.#nowNs += 10n;
  }
}

function entryOf({ what, thread, socket, port }: Step): {
  name: string;
  values: Record<string, number | bigint | number[]>;
} {
  const inPacket = ((port & 0xff) << 8) | (port >>> 8);
  const packet = {
    ...{ packet: socket, socket, header: 0x45, protocol: 17, local: [127, 0, 0, 1], peer: [127, 0, 0, 1] },
    ...{ local_port: 0x409c, peer_port: inPacket },
  };
  const lookup = { proto: 17, src: [0, 0, 0, 0], dst: [192, 0, 2, thread], sport: 40_000, dport: port };
  const entries = {
    send: { name: 'udp_send', values: packet },
    query: { name: 'udp_query', values: { ...packet, peer_port: 0x3500 } },
    end: { name: 'udp_end', values: { socket } },
    asks: { name: 'fib_table_lookup', values: lookup },
    sends: { name: 'sock_send_length', values: { sk: socket, protocol: 17, ret: 8 } },
    connects: { name: 'sys_enter_connect', values: { __syscall_nr: 42 } },
    connected: { name: 'sys_exit_connect', values: { ret: 0n } },
  };
  return entries[what as keyof typeof entries];
}

test('live and replayed from any checkpoint, with crashes between, datagrams are told alike', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 120 }), (steps) => {
      const driver = new Driver();
      for (const each of steps) driver.step(each);
      driver.drain();
      const live = driver.told.events;
      const whole = replayed(driver.recorder, undefined);
      assert.equal(whole.damagedBytes, 0);
      assert.deepEqual(whole.events, live);
      for (const { ordinal } of driver.recorder.log.anchors()) {
        const { events } = replayed(driver.recorder, ordinal);
        assert.deepEqual(events, live.slice(live.length - events.length), `anchor ${ordinal}`);
      }
    }),
    { numRuns: runs(40) },
  );
});

test('each datagram to the port of DNS has its own question, or says that it was missed', () => {
  const driver = new Driver();
  const query = { what: 'query', thread: 1, socket: 1n, afterNs: 2_000n, drains: false, crashes: false } as const;
  for (const port of [53, 4_711, 53] as const) driver.step({ ...query, port });
  driver.drain();
  const names = driver.told.events.map((text) => /"name":"(n\d+)\.example"/.exec(text)?.[1] ?? 'none');
  // The one in between was no question.
  assert.deepEqual(names, ['n1000002000', 'n1000006000']);
  driver.recorder.queries([]);
  const format = TABLE.byName('udp_query') as EventFormat;
  const { values } = entryOf({ ...query, port: 53 });
  const writer = new PageWriter(64 * 1024);
  writer.append({ format, timeNs: 2_000_000_000n, pid: 1, values });
  driver.recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  driver.recorder.horizon(3_000_000_000n);
  assert.match(driver.told.events.at(-1)!, /"dns":\{"questionMissed":true\}/);
});

test('a secret in a name is masked before the name is recorded', () => {
  const driver = new Driver();
  const secret = `ghp_${'a1B2c3D4'.repeat(5)}`;
  driver.step({ what: 'query', thread: 1, socket: 1n, port: 4_711, afterNs: 2_000n, drains: false, crashes: false });
  const question = { name: `${secret}.example`, type: 'TXT' };
  const redacted = driver.recorder.redactor.redactQuestion(question);
  assert.deepEqual(redacted, { question: { name: '***.example', type: 'TXT' }, redactions: 1 });
  const ordinary = { name: 'www.example.org', type: 'A' };
  assert.deepEqual(driver.recorder.redactor.redactQuestion(ordinary), { question: ordinary });
});
