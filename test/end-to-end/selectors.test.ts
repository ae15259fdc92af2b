/**
 * One stream for several selectors, of a real node that is over its budget all the time: each selector gets what a
 * subscription of its own gets, also over a resumption with other selectors.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bus, Command, type EventLine } from '../harness/bus/bus.js';
import { isAfter, nameOf, type Place, readLines } from '../harness/bus/event-stream.js';
import { numberedEvents, sequenceNumber } from '../harness/bus/numbered.js';

const ENV = {
  ...numberedEvents(2_000),
  BACKPLANE_BUDGET_LIVE_BYTES: '256KiB',
  BACKPLANE_BUDGET_LIVE_EVENTS: '500',
  BACKPLANE_BUDGET_BURST: '1s',
};

/** Execs whose number ends in one of these digits. */
function selector(id: string, ...digits: number[]) {
  const ends = digits.map((digit) => `"${digit}"`).join(', ');
  return { id, topics: ['process'], filter: `process.command_args[1].endsWithAny([${ends}])`, digits };
}

type Selector = ReturnType<typeof selector>;

interface Result {
  readonly event?: EventLine;
  readonly refill?: boolean;
  readonly history?: boolean;
  readonly selectors?: readonly string[];
  readonly cursor?: string;
  readonly accepted?: { readonly selectors: readonly { readonly selector: string; readonly start: string }[] };
}

const asked = (selectors: readonly Selector[]) => selectors.map(({ digits: _, ...rest }) => rest);

function idsOf(event: EventLine, selectors: readonly Selector[]): string[] {
  const number = sequenceNumber(event.process?.commandArgs) ?? assert.fail('no number');
  return selectors.filter(({ digits }) => digits.includes(number % 10)).map(({ id }) => id);
}

test('each selector gets what a subscription of its own gets, also when it resumes beside changed ones', async () => {
  const bus = await Bus.start(ENV);
  try {
    const [kept, changed] = [selector('kept', 1, 2, 3), selector('id', 3, 4)];
    const later = [selector('new', 2, 8), kept, selector('id', 5, 3)];
    /** By name. */
    const received = new Map<string, string>();
    let furthest: Place | undefined;
    let cursor = '';
    let refilled = 0;
    const take = (selectors: readonly Selector[], result: Result): EventLine | undefined => {
      const { event } = result;
      cursor = result.cursor ?? cursor;
      if (!event) return undefined;
      // Of what is owed to one of them alone, others that match are not named.
      if (!result.refill) assert.deepEqual(result.selectors, idsOf(event, selectors));
      for (const id of result.selectors!) assert.ok(idsOf(event, selectors).includes(id));
      if (result.refill) refilled += 1;
      else furthest = event.position;
      return event;
    };
    const follow = { follow: true, refill: true };
    await readLines<Result>(
      await bus.post('/v1/events', { ...follow, since: '1h', selectors: asked([kept, changed]) }),
      (result) => {
        const event = take([kept, changed], result);
        if (event && result.selectors!.includes('kept')) {
          assert.ok(!received.has(nameOf(event.position)));
          received.set(nameOf(event.position), JSON.stringify(event));
        }
        // Only events up to a cursor count as received, since the next stream resumes there.
        return result.cursor === undefined || refilled < 500;
      },
    );
    const behind = furthest!;
    const due = new Map<string, string>();
    const own = async ({ id, topics, filter }: Selector) => {
      const url = `/v1/events?topic=${topics}&since=1h&filter=${encodeURIComponent(filter)}`;
      await readLines<Result>(await bus.get(url), ({ event }) => {
        if (!event) return true;
        const name = nameOf(event.position);
        const had = received.get(name);
        if (id === 'kept' && had !== undefined) assert.equal(had, JSON.stringify(event));
        else if (id === 'kept' || isAfter(event.position, behind)) due.set(`${id} ${name}`, JSON.stringify(event));
        return true;
      });
    };
    for (const each of later) await own(each);
    assert.ok(
      [...due.keys()].some((key) => key.startsWith('kept') && !isAfter(placeOf(key), behind)),
      'some is owed',
    );
    const resumed = await bus.post('/v1/events', { ...follow, cursor, selectors: asked(later) });
    const came = new Set<string>();
    await readLines<Result>(resumed, (result) => {
      if (result.accepted) {
        const starts = result.accepted.selectors.map(({ selector, start }) => `${selector} ${start}`);
        assert.deepEqual(starts, ['new new', 'kept resumed', 'id changed']);
      }
      const event = take(later, result);
      for (const id of event ? result.selectors! : []) {
        const { position } = event!;
        const name = nameOf(position);
        // Frames of which all was shed may lie between the last event and the cursor.
        if (id !== 'kept' && ![...came].some((key) => key.startsWith(`${id} `))) {
          assert.ok(result.history, 'from the recorder, as nobody asked for it before');
          for (const key of due.keys())
            if (key.startsWith(`${id} `) && isAfter(position, placeOf(key))) due.delete(key);
        }
        assert.ok(!came.has(`${id} ${name}`) && !(id === 'kept' && received.has(name)), `${id} ${name} comes twice`);
        came.add(`${id} ${name}`);
        assert.ok(id === 'kept' || isAfter(position, behind), `${id} begins at the cursor`);
        const expected = due.get(`${id} ${name}`);
        if (expected !== undefined) assert.equal(JSON.stringify(event), expected);
        due.delete(`${id} ${name}`);
      }
      return due.size > 0;
    });
    assert.equal(due.size, 0);
    const flags = later.flatMap(({ id, topics, filter }) => ['--selector', `${id}:${topics}=${filter}`]);
    const observe = new Command(['observe', '--last', '30', '-o', 'json', ...flags], bus.env);
    assert.equal(await observe.exited, 0, observe.said);
    const lines = observe.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as EventLine & Result);
    assert.equal(lines.length, 30);
    for (const line of lines) assert.deepEqual(line.selectors, idsOf(line, later));
  } finally {
    await bus.destroy();
  }
});

function placeOf(key: string): Place {
  const [timeNs = '', lane, tie] = key.split(' ')[1]!.split(':');
  return { timeNs, lane: Number(lane), tie: Number(tie) };
}
