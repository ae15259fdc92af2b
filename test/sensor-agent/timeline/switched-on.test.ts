/** What was under way as events were switched off is joined with nothing that comes when they are on again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Demand } from '../../../src/sensor-agent/interest/demand.js';
import { Recorder } from '../../../src/sensor-agent/recorder/recorder.js';
import { Redactor } from '../../../src/sensor-agent/redaction/redactor.js';
import { type EventFormat, FormatTable } from '../../../src/sensor-agent/source/pages/format.js';
import { PageWriter } from '../../../src/sensor-agent/source/synthetic/page-writer.js';
import { UNSYNCED } from '../../harness/files/scratch.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { EVERYTHING, ORIGIN, replayed, Told, WALL_NS } from '../../harness/recording-driver.js';

const COMMON = ['unsigned short common_type', 'unsigned char common_flags', 'unsigned char common_preempt_count'];

/** Each field: its declaration, offset and size. */
function formatText(id: number, name: string, fields: readonly (readonly [string, number, number])[]): string {
  const head = [...COMMON, 'int common_pid'].map((field, at) => [field, [0, 2, 3, 4][at]!, [2, 1, 1, 4][at]!] as const);
  const lines = [...head, ...fields].map(
    ([declaration, offset, size]) => `\tfield:${declaration};\toffset:${offset};\tsize:${size};\tsigned:0;\n`,
  );
  return `name: ${name}\nID: ${id}\nformat:\n${lines.join('')}`;
}

const NUMBER = ['int __syscall_nr', 8, 4] as const;
const RETURNED = [NUMBER, ['long ret', 16, 8]] as const;
const TABLE = FormatTable.parse({
  'syscalls/sys_enter_openat': formatText(3_001, 'sys_enter_openat', [NUMBER]),
  'g_recorded/path_open': formatText(3_002, 'path_open', [['__data_loc char[] path', 8, 4]]),
  'syscalls/sys_exit_openat': formatText(3_003, 'sys_exit_openat', RETURNED),
  'syscalls/sys_enter_memfd_create': formatText(3_004, 'sys_enter_memfd_create', [NUMBER]),
  'g_recorded/name_memfd': formatText(3_005, 'name_memfd', [['__data_loc char[] name', 8, 4]]),
  'syscalls/sys_exit_memfd_create': formatText(3_006, 'sys_exit_memfd_create', RETURNED),
  'g_recorded/path_unlink': formatText(3_007, 'path_unlink', [['__data_loc char[] path', 8, 4]]),
  'g_recorded/call_unlink': formatText(3_008, 'call_unlink', [['int directory', 8, 4]]),
});

class Driver {
  readonly told = new Told();
  readonly recorder: Recorder;
  nowNs = 1_000_000_000n;
  readonly #writer = new PageWriter(64 * 1024);

  constructor() {
    const bounds = { bytesMax: 64 * 1024 * 1024, ageMsMax: 1e12, segmentBytesMax: 64 * 1024 };
    const options = { dir: scratchDirectory(), ...bounds, files: UNSYNCED, redactor: new Redactor([]) };
    this.recorder = new Recorder(options, EVERYTHING);
    this.recorder.tellTo(this.told);
    this.recorder.begin({ ...ORIGIN, formats: TABLE.texts() }, { bootNs: this.nowNs, wallNs: WALL_NS + this.nowNs });
  }

  entries(...entries: readonly (readonly [string, Record<string, string | number | bigint>])[]): void {
    for (const [name, values] of entries) {
      this.nowNs += 1_000n;
      this.#writer.append({ format: TABLE.byName(name) as EventFormat, timeNs: this.nowNs, pid: 7, values });
    }
    this.recorder.page({ lane: 0, bytes: this.#writer.take()!, lost: 0, lostUnknown: false });
    this.nowNs += 1_000n;
    this.recorder.horizon(this.nowNs);
    this.nowNs += 10n;
  }
}

const opens = [
  ['sys_enter_openat', {}],
  ['path_open', { path: '/first' }],
] as const;
const returns = ['sys_exit_openat', { ret: 3n }] as const;
const names = [
  ['sys_enter_memfd_create', {}],
  ['name_memfd', { name: 'memfd:first' }],
] as const;
const named = ['sys_exit_memfd_create', { ret: 3n }] as const;
const removes = ['path_unlink', { path: '/first' }] as const;
const removed = ['call_unlink', { directory: -100 }] as const;

test('a call that is under way as its events are switched off lends nothing to a later one, live or in history', () => {
  const isFirst = (types: readonly string[]) => {
    const driver = new Driver();
    driver.entries(...opens, ...names, removes);
    if (types.length > 0) driver.recorder.switchOn(types, driver.nowNs);
    driver.nowNs += 100n;
    driver.entries(returns, named, removed);
    const { events } = driver.told;
    assert.deepEqual(replayed(driver.recorder, undefined).events, events);
    return ['file.open', 'security.memfd_create', 'file.unlink'].map((type) => {
      const own = events.filter((text) => text.includes(`"${type}"`));
      assert.equal(own.length, 1, type);
      return own[0]!.includes('first');
    });
  };
  assert.deepEqual(isFirst([]), [true, true, true]);
  assert.deepEqual(isFirst(['file.open', 'security.memfd_create', 'file.unlink']), [false, false, false]);
  // Those of others that were on all the time are kept.
  assert.deepEqual(isFirst(['file.open']), [false, true, true]);
  assert.deepEqual(isFirst(['security.memfd_create', 'network.udp.send']), [true, false, true]);
});

test('types are told before their events are switched on, and not where those are on', () => {
  const moves: string[] = [];
  const enabled = new Set<string>();
  const events = {
    ...{ events: new Set(['syscalls/sys_enter_kill', 'syscalls/sys_enter_setns']), enabled, filter: () => {} },
    switch: (event: string, on: boolean) => {
      moves.push(event);
      if (on) enabled.add(event);
      else enabled.delete(event);
    },
  };
  const demand = new Demand(events, 0, (types) => moves.push(types.join(' ')));
  const asks = (...types: string[]) => ({ wants: (type: string) => types.includes(type), conditions: () => undefined });
  demand.widen(asks('security.kill'));
  demand.widen(asks('security.kill', 'security.setns'));
  const [kill, setns] = ['syscalls/sys_enter_kill', 'syscalls/sys_enter_setns'];
  assert.deepEqual(moves, ['security.kill', kill, 'security.setns', setns]);
  demand.suspend(['security']);
  assert.deepEqual([...enabled], []);
  moves.length = 0;
  demand.suspend([]);
  assert.deepEqual(moves, ['security.setns security.kill', setns, kill]);
});
