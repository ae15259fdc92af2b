/** `observe --group` commits what it has printed, and `groups` shows and changes groups. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { groupsText, groupText } from '../../../src/cli/lists/groups.js';
import { GroupCommits } from '../../../src/cli/observe/group-commits.js';
import { BackplaneError } from '../../../src/errors.js';
import {
  type GetGroupResponse,
  type GetGroupResponse__Output,
  getGroupResponseCodec,
  nsToTimestamp,
} from '../../../src/wire/messages.js';
import { ReceivedBatch } from '../../../src/wire/received-batch.js';
import { Harness, range } from '../../harness/broker/harness.js';
import { Command } from '../../harness/bus/bus.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(async () => {
  await Command.killAll();
  await harness.destroy();
});

const run = (...args: string[]) => new Command(args, { BACKPLANE_BROKERS: harness.broker.grpcAddress });

async function done(...args: string[]): Promise<string> {
  const command = run(...args);
  assert.equal(await command.exited, 0, command.stderr);
  return command.stdout;
}

test('what was printed is committed: who observes next gets what follows; groups are shown, changed and removed', async () => {
  const agent = await harness.agent('a');
  for (const pid of range(1, 4)) agent.recorder.record('process.exec', pid);
  const observe = () =>
    run('observe', '--group', 'triage', '--slices', '8', '-t', 'process', '--since', '1h', '-o', 'json');
  const pids = (command: Command) => [...command.stdout.matchAll(/"pid":(\d+)/g)].map(([, pid]) => Number(pid));
  const first = observe();
  await until(
    'events',
    () => pids(first).length === 3 || first.goesOn(),
    () => first.said,
  );
  assert.equal(await first.stop('SIGINT'), 130);
  assert.doesNotMatch(first.stderr, /--cursor/, 'the group keeps the place');
  agent.recorder.record('process.exec', 4);
  agent.publish();
  const second = observe();
  await until(
    'the rest',
    () => pids(second).length > 0 || second.goesOn(),
    () => second.said,
  );
  assert.deepEqual(pids(second), [4]);
  const shown = JSON.parse(await done('groups', 'show', 'triage', '-o', 'json'));
  assert.equal(shown.group.members.length, 1);
  const busy = run('groups', 'reset', 'triage', '--to', 'now');
  assert.equal(await busy.exited, 2);
  assert.match(busy.stderr, /group triage has a member/);
  await second.stop('SIGINT');
  assert.match(await done('groups'), /^GROUP .*\ntriage +asks for /);
  assert.match(
    await done('groups', 'set-filter', 'triage', '--filter', 'process.pid > 2'),
    /has the filter process.pid > 2/,
  );
  assert.match(await done('groups', 'reset', 'triage', '--to', 'oldest'), /begins where recordings do/);
  assert.equal(await done('groups', 'delete', 'triage'), 'triage is removed\n');
});

const NOW_NS = 1_800_000_000_000_000_000n;
const ago = (seconds: bigint) => nsToTimestamp(NOW_NS - seconds * 1_000_000_000n);

function shown(): GetGroupResponse__Output {
  const response: GetGroupResponse = {
    group: {
      name: 'triage-of-everything-that-happens-on-any-node-of-the-whole-fleet',
      owner: 'local',
      filter: 'process.executable.path.startsWith("/tmp/") && process.user.id == 0 && has(process.user.id)',
      topics: ['process', 'network'],
      slices: 8,
      created: ago(90n),
      since: ago(3600n),
      lagEvents: 1234,
      lagSince: ago(200n),
      members: [
        {
          member: '0b1c1b9e-51f5-4a5c-9d40-0d3ab6b1a1c1',
          state: 'active',
          slices: range(0, 8),
          joined: ago(60n),
          peer: '10.0.0.1:50000',
        },
        { member: 'one', named: true, state: 'away', joined: ago(5n) },
      ],
    },
    slices: range(0, 8).map((slice) => ({
      slice,
      epoch: 1_800_000_001,
      lagEvents: 7,
      lagSince: ago(20n),
      member: 'one',
      committed: ago(3n),
    })),
  };
  return getGroupResponseCodec.decode(getGroupResponseCodec.encode(response), 1 << 20) as GetGroupResponse__Output;
}

test('tables of groups fit 80 columns and name what matters', () => {
  const { group, slices } = shown();
  for (const text of [
    groupsText({ groups: [group!], nextPageToken: '' }, NOW_NS, 80),
    groupText({ group, slices }, NOW_NS, 80),
  ]) {
    for (const line of text.split('\n')) assert.ok(line.length <= 80, `${line.length}: ${line}`);
    assert.match(text, /1234/);
    assert.match(text, /attended/);
  }
  const text = groupText({ group, slices }, NOW_NS, 80);
  assert.match(text, /\none +away/);
  assert.match(text, /\nlag +1234 events, the oldest for 3m 20s in the log\n/);
});

test('of slices that are fenced the others are committed all the same, and a lost broker is asked again', async () => {
  const commits: { slice: number; cursor: string }[][] = [];
  let failure: 'fenced' | 'unavailable' | undefined;
  const client = {
    async commit({ slices = [] }: { slices?: readonly { slice?: number; cursor?: string }[] }) {
      if (failure === 'unavailable') throw new BackplaneError('unavailable', 'gone');
      if (failure === 'fenced' && slices.some(({ slice }) => slice === 1)) throw new BackplaneError('fenced', 'fenced');
      commits.push(slices.map(({ slice = 0, cursor = '' }) => ({ slice, cursor })));
    },
  };
  const notices: string[] = [];
  const own = new GroupCommits(client, 'g', { flush: async () => true }, (text) => notices.push(text));
  const events = (slice: number, cursor: string) =>
    own.shown({ kind: 'events', batch: Object.assign(new ReceivedBatch(), { slice, cursor }) });
  const assigned = (slice: number) =>
    own.shown({ kind: 'group', group: { assigned: { slice, epoch: '5', cursor: '' }, revoking: null } });
  for (const slice of [0, 1]) await assigned(slice);
  await events(0, 'a');
  await events(1, 'b');
  failure = 'unavailable';
  await own.commit();
  failure = 'fenced';
  await own.commit();
  assert.deepEqual(commits, [[{ slice: 0, cursor: 'a' }]]);
  failure = undefined;
  await events(1, 'c');
  await own.commit();
  assert.equal(commits.length, 1, 'what is fenced is not committed again');
  await assigned(1);
  await events(1, 'd');
  await own.shown({
    kind: 'group',
    group: { assigned: null, revoking: { slice: 1, epoch: '5', commitWithinMs: 2000 } },
  });
  assert.deepEqual(commits.at(-1), [{ slice: 1, cursor: 'd' }], 'at once, when the slice goes');
  assert.deepEqual(notices, []);
  own.close();
});
