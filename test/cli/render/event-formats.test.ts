/** The formats of event lines: times, columns, JSON, dict and table, field masks, and what may reach a terminal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventLines, type OutputFormat } from '../../../src/cli/render/event-lines.js';
import { COLOURED, choosePalette, PLAIN, takesEscapes } from '../../../src/cli/render/palette.js';
import { CLOCK, type TimeStyle } from '../../../src/cli/render/time.js';
import { parseTimestamp } from '../../../src/text/time-text.js';
import { TOPICS } from '../../../src/wire/event/event.js';
import { BASH, CURL, V4, wireEvent } from '../../harness/bus/event-fixture.js';
import { lines, received, show } from '../../harness/shown-lines.js';

process.env.TZ = 'UTC';

/** Lines of exits at these times. */
function timesOf(at: readonly string[], times: TimeStyle, format: OutputFormat = 'compact'): string[] {
  const { line } = eventLines(format, { palette: PLAIN, mask: undefined, times, terminal: false });
  return at.map((text) => {
    const ns = parseTimestamp(text)!;
    const time = { seconds: String(ns / 1_000_000_000n), nanos: Number(ns % 1_000_000_000n) };
    const shown = show(line, { ...wireEvent('process.exit', { process: BASH }), time });
    return shown.slice(0, shown.indexOf('node-a')).trimEnd();
  });
}

test('date and zone are shown in the first line and where they change', () => {
  const at = ['2026-11-23T10:02:03.1Z', '2026-11-23T22:59:59Z', '2026-11-23T23:00:00Z', '2026-11-23T22:59:59.5Z'];
  assert.deepEqual(timesOf(at, { format: 'clock', utc: true }), [
    '2026-11-23 10:02:03.100000Z',
    '22:59:59.000000',
    '23:00:00.000000',
    '22:59:59.500000',
  ]);
  process.env.TZ = 'Europe/Berlin';
  try {
    assert.deepEqual(timesOf(at, CLOCK), [
      '2026-11-23 11:02:03.100000+01:00',
      '23:59:59.000000',
      '2026-11-24 00:00:00.000000+01:00',
      '2026-11-23 23:59:59.500000+01:00',
    ]);
    // The clock goes back by an hour: what says 02:30 twice says of which zone.
    const back = ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'];
    assert.deepEqual(timesOf(back, CLOCK), ['2026-10-25 02:30:00.000000+02:00', '2026-10-25 02:30:00.000000+01:00']);
    assert.deepEqual(timesOf(at.slice(0, 1), CLOCK, 'table'), ['2026-11-23 11:02:03.100000+01:00']);
  } finally {
    process.env.TZ = 'UTC';
  }
  process.env.TZ = 'America/St_Johns';
  try {
    assert.deepEqual(timesOf(at.slice(0, 1), { format: 'rfc3339', utc: false }), [
      '2026-11-23T06:32:03.100000000-03:30',
    ]);
  } finally {
    process.env.TZ = 'UTC';
  }
});

test('times can be shown in UTC, in local time and relative', () => {
  const at = ['2026-11-23T10:02:03.123456789Z', '2026-11-23T10:02:04Z'];
  const forms: [TimeStyle['format'], string][] = [
    ['date', '2026-11-23 10:02:04.000000Z'],
    ['rfc3339', '2026-11-23T10:02:04.000000000Z'],
    ['unix', '1795428124.000000000'],
  ];
  for (const [format, expected] of forms) assert.equal(timesOf(at, { format, utc: true })[1], expected);
});

const EVIL = '\x1b]0;x\x07\u202e\n\u009b';

test('hostile text causes no terminal action, in any format', () => {
  const events = [
    wireEvent('process.exec', {
      process: {
        ...CURL,
        comm: EVIL,
        executable: { path: EVIL, name: EVIL },
        commandArgs: [EVIL],
        workingDirectory: EVIL,
      },
      container: { id: EVIL, name: EVIL, image: { name: EVIL, tags: [EVIL] } },
      k8s: { podName: EVIL, podUid: EVIL, namespaceName: EVIL },
    }),
    wireEvent('process.rename', { process: { ...BASH, comm: EVIL, previousComm: EVIL } }),
    wireEvent('process.signal', {
      process: { ...BASH, comm: EVIL },
      signal: { number: 1, name: EVIL, targetPid: 1, targetComm: EVIL, code: 0, result: 0 },
    }),
    wireEvent('network.tcp.connect', { network: { ...V4, peer: { address: EVIL, port: 1 } } }),
    wireEvent('host.loss', { notice: { reason: EVIL, message: EVIL, source: EVIL } }),
    wireEvent(EVIL, { process: BASH }),
  ];
  for (const format of ['compact', 'table', 'dict', 'json'] as const) {
    for (const palette of [PLAIN, COLOURED]) {
      const { line } = eventLines(format, { palette, mask: undefined, times: CLOCK, terminal: true });
      for (const event of events) {
        const shown = line(EVIL, EVIL, received(event));
        // Our own colours are the only escapes.
        const rest = shown.replace(/\x1b\[[0-9;]*m/g, '').replaceAll('\n', '');
        assert.doesNotMatch(rest, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        if (format !== 'dict') assert.equal(shown.indexOf('\n'), shown.length - 1);
      }
    }
  }
});

test('an event with an impossible time is still shown', () => {
  for (const seconds of ['9223372036854775807', '-9223372036854775808']) {
    const event = { ...wireEvent('process.exit', { process: BASH }), time: { seconds, nanos: -1 } };
    for (const format of ['compact', 'table', 'dict', 'json'] as const)
      assert.match(show(lines(format).line, event), /bash/);
  }
});

test('json is canonical protojson with topic and node, one object a line', () => {
  const shown = show(lines('json').line, wireEvent('process.exec', { process: CURL }));
  assert.match(shown, /^\{.*\}\n$/);
  const json = JSON.parse(shown) as Record<string, unknown>;
  assert.equal(json.time, '2026-11-23T10:02:03.123456789Z');
  assert.equal(json.topic, 'process');
  assert.equal(json.node, 'node-a');
  assert.deepEqual(json.position, { epoch: '7', timeNs: '5000000000', lane: 1 });
  assert.deepEqual((json.process as { user: unknown }).user, { id: 0 });
  assert.deepEqual((json.process as { commandArgs: unknown }).commandArgs, ['curl', '-s', 'https://example.org/a b']);
});

test('dict shows one field a line, and separates events', () => {
  const { line } = lines('dict', 'type,process.pid,process.command_args');
  const first = show(line, wireEvent('process.exec', { process: CURL }));
  const head = 'time: 2026-11-23T10:02:03.123456789Z\nnode: node-a\ntopic: process\n';
  assert.equal(
    first,
    `${head}type: process.exec\nprocess.pid: 123\nprocess.commandArgs: curl -s 'https://example.org/a b'\n`,
  );
  const second = show(line, wireEvent('process.exit', { process: BASH }));
  assert.equal(second, `\n${head}type: process.exit\nprocess.pid: 100\n`);
  const whole = show(lines('dict').line, wireEvent('process.exit', { process: BASH })).split('\n');
  assert.deepEqual(
    whole.slice(0, 5).map((text) => text.split(':')[0]),
    ['time', 'node', 'topic', 'type', 'position.epoch'],
  );
});

test('table aligns its columns below the header', () => {
  const { header, line } = lines('table');
  const row = show(line, wireEvent('process.exec', { process: CURL }));
  assert.equal(
    header,
    'TIME                         NODE      TYPE               PID   PARENT  USER   NAME             WHAT\n',
  );
  assert.equal(
    row,
    "2026-11-23 10:02:03.123456Z  node-a    exec               123      100  root   curl             /usr/bin/curl curl -s 'https://example.org/a b'\n",
  );
});

test('with a field mask every format shows only the fields of the mask', () => {
  const event = wireEvent('process.exec', { process: CURL });
  const mask = 'process.pid,process.executable,node';
  assert.deepEqual(JSON.parse(show(lines('json', mask).line, event)), {
    time: '2026-11-23T10:02:03.123456789Z',
    node: 'node-a',
    topic: 'process',
    type: 'process.exec',
    position: { epoch: '7', timeNs: '5000000000', lane: 1 },
    process: { pid: 123, executable: { path: '/usr/bin/curl', name: 'curl' } },
  });
  assert.equal(lines('table', 'process.pid,process.comm').header, 'PROCESS.PID  PROCESS.COMM\n');
  assert.equal(show(lines('table', 'process.pid,process.comm').line, event), '123          curl\n');
  assert.match(show(lines('compact', 'process.pid').line, event), /exec {11}process\.pid=123\n$/);
  // Names as masks and filters spell them, whichever way they were given.
  for (const given of ['process.command_args', 'process.commandArgs']) {
    const args = "process.command_args=curl -s 'https://example.org/a b'\n";
    assert.ok(show(lines('compact', given).line, event).endsWith(`  ${args}`));
    assert.equal(lines('table', given).header, 'PROCESS.COMMAND_ARGS\n');
  }
  // An event that has none of the fields.
  assert.match(show(lines('compact', 'process.login_user,network').line, event), /exec {11}-\n$/);
});

test('json on a terminal is escaped but the same value, and into a pipe it is unchanged', () => {
  // DEL, C1 (CSI), soft hyphen, zero width, bidi, line separator, a tag beyond the first plane.
  const text = 'a\u007f\u009b31m\u00ad\u200b\u202e\u2066\u2028\u{e0041}é日😀';
  const event = wireEvent('process.exec', { process: { ...CURL, commandArgs: [text] } });
  const json = { ...wireEvent('process.exec'), process: { ...event.process!, commandArgs: [text] } };
  for (const terminal of [true, false]) {
    const { line } = eventLines('json', { palette: PLAIN, mask: undefined, times: CLOCK, terminal });
    const shown = show(line, json);
    assert.deepEqual((JSON.parse(shown) as { process: { commandArgs: string[] } }).process.commandArgs, [text]);
    assert.equal(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(shown.trimEnd()), !terminal);
    assert.ok(shown.includes('é日😀'));
  }
});

test('a cursor is printed with the event behind which it resumes', () => {
  const { line } = lines('json', 'process.pid');
  const event = wireEvent('process.exec', { process: CURL });
  const cursors = ['', 'abc'].map(
    (cursor) => (JSON.parse(line('n', 'process', received(event), cursor)) as { cursor?: string }).cursor,
  );
  assert.deepEqual(cursors, [undefined, 'abc']);
});

test('escape sequences are used only on terminals that take them, and colours only when wanted too', () => {
  const terminal = { isTTY: true };
  const TERM = 'xterm';
  assert.equal(choosePalette(terminal, { TERM }, true), COLOURED);
  assert.equal(choosePalette(terminal, { TERM, NO_COLOR: '' }, true), COLOURED);
  assert.equal(choosePalette(terminal, { TERM }, false), PLAIN);
  for (const [stream, environment] of [
    [{ isTTY: false }, { TERM }],
    [{}, { TERM }],
    [terminal, { TERM, NO_COLOR: '1' }],
    [terminal, { TERM: 'dumb' }],
    [terminal, { TERM: '' }],
    [terminal, {}],
  ] as const) {
    assert.equal(takesEscapes(stream, environment), false);
    assert.equal(choosePalette(stream, environment, true), PLAIN);
  }
});

test('columns stay aligned when longer node names appear', () => {
  const { line } = lines('compact');
  const event = received(wireEvent('process.exit', { process: BASH }));
  line('a', 'process', event);
  assert.equal(line('node-long-name', 'process', event).indexOf('exit'), line('b', 'process', event).indexOf('exit'));
});

test('what happened begins in one column, whatever the type', () => {
  const types = Object.values(TOPICS).flatMap((topic) => topic.types);
  const shown = types.map((type) => show(lines('compact', 'process.pid').line, wireEvent(type, { process: BASH })));
  assert.equal(new Set(shown.map((text) => text.indexOf('process.pid='))).size, 1, shown.join(''));
});
