/** Gaps, coverage and states of nodes as lines of text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeTimes } from '../../../src/cli/render/node-times.js';
import { coverageNotices, gapNotice, linkNotice, missingNotice, nodeNotice } from '../../../src/cli/render/notices.js';
import { BackplaneError } from '../../../src/errors.js';
import { nsToTimestamp, type SubscribeResponse, subscribeResponseCodec } from '../../../src/wire/messages.js';
import { WALL_NS, wireEvent } from '../../harness/bus/event-fixture.js';

process.env.TZ = 'UTC';

/** As a client decodes it. */
function received(response: SubscribeResponse) {
  return subscribeResponseCodec.decode(subscribeResponseCodec.encode(response), 1 << 20);
}

const GAP = {
  node: 'node-a',
  topic: 'network',
  from: { epoch: '7', timeNs: '5000000000' },
  to: { epoch: '7', timeNs: '7000000000' },
  events: '412',
  reason: 'kernel_overrun',
};

test('a gap names node, topic, count, wall time and reason', () => {
  const clock = new NodeTimes();
  const { gap } = received({ gap: GAP });
  assert.equal(gapNotice(gap!, clock), 'gap node-a network: 412 events, kernel_overrun');
  clock.learn('node-a', wireEvent('process.exit'), WALL_NS);
  assert.equal(gapNotice(gap!, clock), 'gap node-a network: 412 events, 10:02:03–10:02:05, kernel_overrun');
  const { gap: unknown } = received({
    gap: { ...GAP, topic: '', from: { epoch: '8' }, eventsUnknown: true, message: 'disk' },
  });
  assert.equal(gapNotice(unknown!, clock), 'gap node-a: an unknown number of events, kernel_overrun, disk');
  const topics = [
    { topic: 'network', events: '400' },
    { topic: 'process', events: '12' },
  ];
  const { gap: several } = received({ gap: { ...GAP, topic: '', topics, reason: 'shed' } });
  assert.equal(gapNotice(several!, clock), 'gap node-a: 412 events (network 400, process 12), 10:02:03–10:02:05, shed');
});

test('coverage is printed where it is incomplete, and everywhere when asked', () => {
  const times = { from: nsToTimestamp(WALL_NS), to: nsToTimestamp(WALL_NS + 60_000_000_000n) };
  const whole = { node: 'a', ...times, events: '3', source: 'tracefs' };
  const nodes = [
    whole,
    { ...whole, node: 'b', evicted: true, lost: '1', damagedBytes: '17' },
    { node: 'c', absent: true, message: 'not connected' },
    { ...whole, node: 'd', source: 'procfs' },
    { ...whole, node: 'e', lostUnknown: true },
    { node: 'f', brokenOff: true, events: '3', message: 'it went' },
  ];
  const { coverage } = received({ coverage: { nodes } });
  const window = '2026-11-23 10:02:03 to 2026-11-23 10:03:03, 3 events';
  const incomplete = [
    `coverage b: ${window}, older ones are no longer recorded, 1 event lost by the kernel, 17 bytes of the recording are damaged`,
    'coverage c: absent, nothing of it is here, not connected',
    `coverage d: ${window}, seen by polling /proc: short-lived processes are missing`,
    `coverage e: ${window}, an unknown number of events lost by the kernel`,
    'coverage f: broken off, 3 events, it went',
  ];
  assert.deepEqual(coverageNotices(coverage!, false), incomplete);
  assert.deepEqual(coverageNotices(coverage!, true), [`coverage a: ${window}`, ...incomplete]);
});

test('nodes, missing nodes and the link to the broker have a line each', () => {
  const { nodeStatus } = received({ nodeStatus: { node: 'a', state: 'NODE_STATE_GONE', message: 'connection lost' } });
  assert.equal(nodeNotice(nodeStatus!), 'node a: gone, connection lost');
  const { accepted } = received({ accepted: { nodes: ['a'], nodesMissing: ['b', 'c'] } });
  assert.equal(missingNotice(accepted!), 'no answer from b, c: what they recorded is missing here');
  assert.equal(missingNotice(received({ accepted: { nodes: ['a'] } }).accepted!), undefined);
  const cause = new BackplaneError('unavailable', 'connection reset');
  assert.equal(
    linkNotice({ kind: 'link', broker: 'h:1', cause }),
    'lost the broker at h:1: connection reset; trying again',
  );
  assert.equal(
    linkNotice({ kind: 'link', broker: 'h:1', cause: undefined }),
    'connected to the broker at h:1, going on where it broke off',
  );
});
