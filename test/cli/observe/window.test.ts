/**
 * What `observe` says of a window that reaches back to before the recordings, and of labels that no node has: against a
 * broker with scripted answers.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { run } from '../../harness/bus/command.js';
import { busEvent } from '../../harness/bus/event-fixture.js';
import { ScriptedBroker, type ScriptedBrokerOptions } from '../../harness/scripted-broker.js';

const EVENTS = [busEvent('process.exit', { process: { pid: 1, comm: 'true' } })];
const FROM = { seconds: '601', nanos: 0 };
/** The scripted window begins a second after 1970 did. */
const BEGINS = '-- the window begins 1970-01-01 00:00:01, before the recording: ';
const A = 'a from 1970-01-01 00:10:01 (10m 0s later)';
const C = 'c from 1970-01-01 00:10:01 (10m 0s later)';
const FORMATS = ['compact', 'json', 'jsonpb', 'table'];

async function start(t: TestContext, options: Partial<ScriptedBrokerOptions>): Promise<ScriptedBroker> {
  const broker = await ScriptedBroker.start({ events: EVENTS, ...options });
  t.after(() => broker.stop());
  return broker;
}

async function observed({ address }: ScriptedBroker, ...flags: readonly string[]) {
  const { err, code } = await run(['observe', '--broker', address, '--since', '30d', '--utc', ...flags]);
  return { notices: err.split('\n').filter((line) => line !== '' && !line.startsWith('-- resume')), code };
}

test('a window that begins before the recording is reported in one line, in every format', async (t) => {
  const nodes = [
    { node: 'a', beginsLater: true, from: FROM },
    { node: 'b', from: FROM },
    { node: 'c', beginsLater: true, from: FROM },
  ];
  const broker = await start(t, { coverage: { nodes } });
  for (const format of FORMATS) {
    // No event is missing: none was ever recorded then.
    assert.deepEqual(await observed(broker, '-o', format), { notices: [`${BEGINS}${A}, ${C}`], code: 0 });
  }
});

test('it is said once of each node, and also where the stream ends at its limit, before a coverage', async (t) => {
  const beginsLater = [{ node: 'a', from: FROM }];
  const nodes = ['a', 'c'].map((node) => ({ node, beginsLater: true, from: FROM }));
  const whole = await start(t, { accepted: { beginsLater }, coverage: { nodes } });
  const cut = await start(t, { accepted: { beginsLater } });
  for (const format of FORMATS) {
    assert.deepEqual(await observed(whole, '-o', format), { notices: [`${BEGINS}${A}`, `${BEGINS}${C}`], code: 0 });
    assert.deepEqual(await observed(cut, '-o', format, '--limit', '1'), { notices: [`${BEGINS}${A}`], code: 0 });
  }
});

test('a window that is all before the recordings is not reported as if no node were connected', async (t) => {
  const later = { beginsLater: [{ node: 'a', from: FROM }], nodes: [] };
  const coverage = { nodes: [{ node: 'a', beginsLater: true, from: FROM, to: FROM }] };
  const none = "-- no connected node's recording reaches back into the window";
  const broker = await start(t, { events: [], accepted: later, coverage });
  assert.deepEqual(await observed(broker), { notices: [none, `${BEGINS}${A}`], code: 0 });
  const until = { seconds: '301', nanos: 0 };
  const open = await start(t, { events: [], accepted: { ...later, since: null, until }, coverage });
  const ends = '-- the window ends 1970-01-01 00:05:01, before the recording: a from 1970-01-01 00:10:01 (5m 0s later)';
  assert.deepEqual(await observed(open), { notices: [none, ends], code: 0 });
  const alone = await start(t, { events: [], accepted: { nodes: [] }, coverage: { nodes: [] } });
  const { notices } = await observed(alone);
  assert.match(notices.join(), /^-- no node is connected: see ".* nodes"$/);
});

test('a label that no node has makes a replay incomplete, and the labels that there are are named', async (t) => {
  const broker = await start(t, { coverage: { nodes: [] } });
  const lacking = await observed(
    broker,
    '--node',
    'zone=zz',
    '--node',
    'zoen=a',
    '--node',
    'rack=*',
    '--node',
    'zone=b',
  );
  assert.deepEqual(
    [lacking.code, lacking.notices],
    [
      4,
      [
        '-- incomplete: no node has the label "zone=zz": known are zone=a, zone=b, ' +
          'no node has the label "zoen=a": known are os=debian, zone=a, zone=b, ' +
          'no node has the label "rack=*": known are os=debian, zone=a, zone=b',
      ],
    ],
  );
  assert.deepEqual(await observed(broker, '--node', 'zone=?,os=debian'), { notices: [], code: 0 });
});
