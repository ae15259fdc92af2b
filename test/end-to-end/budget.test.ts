/** A node that is asked for more than it may send. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bus, Command, Observer } from '../harness/bus/bus.js';
import { isAfter, nameOf, type Place, type Result, readLines } from '../harness/bus/event-stream.js';
import { numberedEvents } from '../harness/bus/numbered.js';
import { until } from '../harness/until.js';

/** An entry of the audit as `observe -o json` prints it. */
interface AuditLine {
  readonly time: string;
  readonly type: string;
  readonly audit: {
    readonly action: string;
    readonly peer: string;
    readonly outcome: string;
    readonly code?: string;
    readonly message?: string;
    readonly count?: number;
    readonly details: object;
  };
}

test('for a node over its budget, sent and shed events add up to those that matched', async () => {
  const bus = await Bus.start({
    ...numberedEvents(2_000),
    BACKPLANE_BUDGET_LIVE_BYTES: '64KiB',
    BACKPLANE_BUDGET_LIVE_EVENTS: '500',
    BACKPLANE_BUDGET_BURST: '1s',
  });
  try {
    const sent: Place[] = [];
    const gaps: NonNullable<Result['gap']>[] = [];
    const since = new Date().toISOString();
    await readLines(await bus.get(`/v1/events?topic=process&since=${since}&follow=true`), ({ event, gap }) => {
      if (event) sent.push(event.position);
      if (gap) gaps.push(gap);
      return gaps.length < 3;
    });
    assert.deepEqual([...new Set(gaps.map(({ reason }) => reason))], ['shed']);

    // The recorder has all events: compare the gaps with it.
    const recorded: Place[] = [];
    // Clocks are compared by messages, which take their time on a busy machine: the same `since` may begin elsewhere.
    await readLines(await bus.get('/v1/events?topic=process&since=1h'), ({ event }) => {
      if (event && !isAfter(sent[0]!, event.position)) recorded.push(event.position);
      return true;
    });
    assert.deepEqual(recorded[0], sent[0]);
    const names = new Set(sent.map(nameOf));
    assert.equal(names.size, sent.length, 'nothing is sent twice');
    const missing = recorded.filter((at) => !names.has(nameOf(at)));
    for (const { from, to, events } of gaps) {
      const within = missing.filter((at) => isAfter(at, from) && !isAfter(at, to));
      assert.equal(within.length, Number(events));
    }
    const told = gaps.at(-1)!.to;
    const untold = missing.filter((at) => !gaps.some(({ from, to }) => isAfter(at, from) && !isAfter(at, to)));
    assert.deepEqual(
      untold.filter((at) => !isAfter(at, told)),
      [],
    );
    const metrics = await (await bus.get('/metrics')).text();
    assert.match(metrics, /^backplane_node_events_total\{stage="shed"\} \d+/m);
  } finally {
    await bus.destroy();
  }
});

test('a budget set at run time holds at once and after a restart, and can be taken back', async () => {
  const env = numberedEvents(50);
  const bus = await Bus.start(env);
  try {
    const run = async (...args: string[]) => {
      const command = new Command(args, { BACKPLANE_BROKERS: bus.grpc });
      return { code: await command.exited, stdout: command.stdout, stderr: command.stderr };
    };
    const liveEvents = async () => {
      const { stdout } = await run('nodes', '-o', 'json');
      return (JSON.parse(stdout) as { budget: { liveEventsPerSecond: string } }).budget.liveEventsPerSecond;
    };
    const firstGap = async () => {
      let reason = '';
      const url = '/v1/events?topic=process&follow=true';
      await readLines(await bus.get(url), ({ gap }) => {
        reason = gap?.reason ?? '';
        return reason === '';
      });
      return reason;
    };
    assert.equal(await liveEvents(), '5000');
    const { stdout } = await run('nodes', 'set-budget', 'node-*', '--live-events', '20');
    assert.match(stdout, /^node-under-test .* 5000 → 20 /m);
    assert.equal(await liveEvents(), '20');
    assert.equal(await firstGap(), 'shed');
    await bus.up.stop('SIGKILL');
    await bus.start(env);
    assert.equal(await liveEvents(), '20');
    assert.equal(await firstGap(), 'shed');
    assert.equal((await run('nodes', 'set-budget', 'node-under-test', '--reset')).code, 0);
    assert.equal(await liveEvents(), '5000');

    const unknown = await run('nodes', 'set-budget', 'nobody', '--live-events', '20');
    assert.deepEqual([unknown.code, unknown.stderr], [2, 'backplane: no node matches nobody\n']);
    // Who follows the audit is in it, too.
    const ofBudgets = ['--filter', 'audit.action == "set_budget"'];
    const audit = new Observer(bus, ['--topic', 'audit', ...ofBudgets, '--since', '1h', '--follow']);
    const lines = audit.events as unknown as readonly AuditLine[];
    const [first, second, refusal] = await until('three entries', () => (lines.length >= 3 ? lines : audit.goesOn()));
    for (const {
      time,
      audit: { peer, outcome },
    } of [first!, second!]) {
      assert.ok(Date.parse(time) > 0 && /^127\.0\.0\.1:\d+$/.test(peer) && outcome === 'done', JSON.stringify(first));
    }
    const by = { kind: 'local' };
    const [node, set] = ['node-under-test', { liveEventsPerSecond: 20 }];
    assert.deepEqual(
      [first!, second!].map(({ type, audit: { action, details } }) => [type, action, details]),
      [
        ['audit.set_budget', 'set_budget', { ...by, before: { [node]: null }, set }],
        ['audit.set_budget', 'set_budget', { ...by, before: { [node]: set }, set: null }],
      ],
    );
    const { action, outcome, code, message, count, details, peer } = refusal!.audit;
    assert.deepEqual(
      [action, outcome, code, message, count],
      ['set_budget', 'refused', 'not_found', 'no node matches nobody', 1],
    );
    assert.deepEqual([details, peer], [{ ...by, nodes: 'nobody' }, '127.0.0.1']);
    const empty = await run('nodes', 'set-budget', 'node-under-test');
    assert.equal(empty.code, 2);
    assert.match(empty.stderr, /give rates .* or --reset/);
  } finally {
    await bus.destroy();
  }
});
