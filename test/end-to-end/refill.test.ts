/** A node over its budget for as long as the test runs: its subscriber gets everything all the same, some of it later. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bus } from '../harness/bus/bus.js';
import { isAfter, nameOf, type Place, type Result, readLines } from '../harness/bus/event-stream.js';
import { numberedEvents } from '../harness/bus/numbered.js';
import { until } from '../harness/until.js';

const ENV = {
  ...numberedEvents(2_000),
  BACKPLANE_BUDGET_LIVE_BYTES: '256KiB',
  BACKPLANE_BUDGET_LIVE_EVENTS: '500',
  BACKPLANE_BUDGET_BURST: '1s',
};

/** What one subscriber has, over several streams. */
class Received {
  readonly names = new Set<string>();
  refilled = 0;
  cursor = '';
  #lastRefill: Place | undefined;

  take({ event, refill, cursor }: Result): void {
    if (event) {
      const name = nameOf(event.position);
      assert.ok(!this.names.has(name), `${name} comes twice`);
      this.names.add(name);
    }
    if (event && refill) {
      const { position } = event;
      if (this.#lastRefill) assert.ok(isAfter(position, this.#lastRefill), 'refills come in order');
      this.#lastRefill = position;
      this.refilled += 1;
    }
    this.cursor = cursor ?? this.cursor;
  }
}

test('with refill every recorded event comes once, even over a crash of all processes and a resumption', async () => {
  const bus = await Bus.start(ENV);
  try {
    // All that is recorded: clocks are compared by messages, so on a busy machine a given time may begin elsewhere later.
    const url = '/v1/events?topic=process&since=1h';
    const received = new Received();
    await readLines(await bus.get(`${url}&follow=true&refill=true`), (result) => {
      received.take(result);
      // Only events up to a cursor count as received, since the next stream resumes there.
      return result.cursor === undefined || received.refilled < 4_000;
    });
    await bus.up.stop('SIGKILL');
    await bus.start(ENV);
    const due = new Set<string>();
    // Until the agent has connected, the broker knows of no recording.
    await until('something recorded', async () => {
      await readLines(await bus.get(url), ({ event }) => {
        if (event) due.add(nameOf(event.position));
        return true;
      });
      return due.size > 0;
    });
    const before = received.refilled;
    for (const name of received.names) due.delete(name);
    assert.ok(due.size > 0, 'not all had come when everything was killed');
    const resumed = `/v1/events?topic=process&follow=true&refill=true&cursor=${received.cursor}`;
    await readLines(await bus.get(resumed), (result) => {
      received.take(result);
      if (result.event) due.delete(nameOf(result.event.position));
      return due.size > 0 || received.refilled < before + 2_000;
    });
    assert.equal(due.size, 0);
  } finally {
    await bus.destroy();
  }
});
