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

/** What came of one stream after the other. */
class Received {
  /** Events of the selector that stays, by name. */
  readonly kept = new Map<string, string>();
  /** The last event that was no refill. */
  furthest: Place | undefined;
  cursor = '';
  refilled = 0;

  take(selectors: readonly Selector[], { event, refill, selectors: ids = [], cursor }: Result): void {
    this.cursor = cursor ?? this.cursor;
    if (!event) return;
    // Of what is owed to one of them alone, others that match are not named.
    const matching = idsOf(event, selectors);
    if (!refill) assert.deepEqual(ids, matching);
    assert.ok(ids.length > 0 && ids.every((id) => matching.includes(id)));
    if (refill) this.refilled += 1;
    else this.furthest = event.position;
  }
}

/** What subscriptions of their own get of these selectors, by id and name: what is still to come. */
async function dueOf(bus: Bus, selectors: readonly Selector[], received: Received): Promise<Map<string, string>> {
  const due = new Map<string, string>();
  for (const { id, topics, filter } of selectors) {
    const url = `/v1/events?topic=${topics}&since=1h&filter=${encodeURIComponent(filter)}`;
    await readLines<Result>(await bus.get(url), ({ event }) => {
      if (!event) return true;
      const name = nameOf(event.position);
      const had = id === 'kept' ? received.kept.get(name) : undefined;
      if (had !== undefined) assert.equal(had, JSON.stringify(event));
      else if (id === 'kept' || isAfter(event.position, received.furthest!)) {
        due.set(`${id} ${name}`, JSON.stringify(event));
      }
      return true;
    });
  }
  return due;
}

/** Reads until nothing is due. */
async function readDue(
  response: Response,
  selectors: readonly Selector[],
  received: Received,
  due: Map<string, string>,
) {
  const behind = received.furthest!;
  const came = new Set<string>();
  const begun = new Set<string>();
  const takeOf = (id: string, { position }: EventLine, event: string, history: boolean) => {
    const name = nameOf(position);
    const key = `${id} ${name}`;
    // Frames of which all was shed may lie between the last event and the cursor.
    if (id !== 'kept' && !begun.has(id)) {
      assert.ok(history, 'from the recorder, as nobody asked for it before');
      for (const other of due.keys())
        if (other.startsWith(`${id} `) && isAfter(position, placeOf(other))) due.delete(other);
    }
    begun.add(id);
    assert.ok(!came.has(key) && !(id === 'kept' && received.kept.has(name)), `${key} comes twice`);
    came.add(key);
    assert.ok(id === 'kept' || isAfter(position, behind), `${id} begins at the cursor`);
    if (due.has(key)) assert.equal(event, due.get(key));
    due.delete(key);
  };
  await readLines<Result>(response, (result) => {
    if (result.accepted) {
      const starts = result.accepted.selectors.map(({ selector, start }) => `${selector} ${start}`);
      assert.deepEqual(starts, ['new new', 'kept resumed', 'id changed']);
    }
    received.take(selectors, result);
    const { event, selectors: ids = [], history = false } = result;
    if (event) for (const id of ids) takeOf(id, event, JSON.stringify(event), history);
    return due.size > 0;
  });
  assert.equal(due.size, 0);
}

test('each selector gets what a subscription of its own gets, also when it resumes beside changed ones', async () => {
  const bus = await Bus.start(ENV);
  try {
    const [kept, changed] = [selector('kept', 1, 2, 3), selector('id', 3, 4)];
    const later = [selector('new', 2, 8), kept, selector('id', 5, 3)];
    const received = new Received();
    const follow = { follow: true, refill: true };
    const first = { ...follow, since: '1h', selectors: asked([kept, changed]) };
    await readLines<Result>(await bus.post('/v1/events', first), (result) => {
      received.take([kept, changed], result);
      const { event, selectors = [], cursor } = result;
      if (event && selectors.includes('kept')) {
        assert.ok(!received.kept.has(nameOf(event.position)));
        received.kept.set(nameOf(event.position), JSON.stringify(event));
      }
      // Only events up to a cursor count as received, since the next stream resumes there.
      return cursor === undefined || received.refilled < 200;
    });
    const due = await dueOf(bus, later, received);
    const isOwed = (key: string) => key.startsWith('kept ') && !isAfter(placeOf(key), received.furthest!);
    assert.ok([...due.keys()].some(isOwed), 'some is owed');
    const again = { ...follow, cursor: received.cursor, selectors: asked(later) };
    await readDue(await bus.post('/v1/events', again), later, received, due);
    const flags = later.flatMap(({ id, topics, filter }) => ['--selector', `${id}:${topics}=${filter}`]);
    const observe = new Command(['observe', '--last', '30', '-o', 'json', ...flags], bus.env);
    assert.equal(await observe.exited, 0, observe.said);
    const lines = observe.stdout.trim().split('\n');
    assert.equal(lines.length, 30);
    for (const line of lines) {
      const event = JSON.parse(line) as EventLine & Result;
      assert.deepEqual(event.selectors, idsOf(event, later));
    }
  } finally {
    await bus.destroy();
  }
});

function placeOf(key: string): Place {
  const [timeNs = '', lane, tie] = key.split(' ')[1]!.split(':');
  return { timeNs, lane: Number(lane), tie: Number(tie) };
}
