/** An agent that may take next to nothing of the machine: it says so, lags, and loses nothing. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Bus, cannotTrace } from '../harness/bus/bus.js';
import { readLines } from '../harness/bus/event-stream.js';
import { numberedEvents, sequenceNumber } from '../harness/bus/numbered.js';
import { until } from '../harness/until.js';

interface Result {
  readonly event?: {
    readonly type: string;
    readonly notice?: { readonly reason: string; readonly message: string };
    readonly process?: { readonly commandArgs?: readonly string[] };
  };
  readonly gap?: { readonly reason: string; readonly message: string };
  readonly coverage?: {
    readonly nodes: readonly { readonly losses?: readonly { readonly reason: string; readonly message: string }[] }[];
  };
}

test('an agent over its CPU bound slows live matching and says so, and every event still arrives', async () => {
  const bus = await Bus.start({
    ...numberedEvents(200),
    BACKPLANE_AGENT_GUARD_CPU: '1',
    // It keeps to a share of a core by the clock: on a crowded machine it would mask numbers, unexamined.
    BACKPLANE_REDACTION_OFF: 'all',
  });
  try {
    const numbers: number[] = [];
    const stop = new AbortController();
    const url = '/v1/events';
    const live = await bus.get(`${url}?topic=process&follow=true&since=1h`, { signal: stop.signal });
    const reading = readLive(live, ({ event, gap }) => {
      assert.equal(gap, undefined, 'nothing is missing');
      const number = sequenceNumber(event?.process?.commandArgs);
      if (number !== undefined) numbers.push(number);
    });
    const message = await told(bus, (text) => text !== '');
    assert.match(message, /^the agent used \d+ % of a core \(agent\.guard\.cpu 1 %\) .*live matching is slowed/);
    await until('the list of nodes says so', async () =>
      /live matching is slowed, subscribers lag/.test(await (await bus.get('/v1/nodes')).text()),
    );
    const before = numbers.length;
    await until(
      'more events',
      () => numbers.length >= before + 100,
      () => numbers.length,
    );
    stop.abort();
    await reading;
    const first = numbers[0]!;
    assert.ok(numbers.every((number, at) => number === first + at));
  } finally {
    await bus.destroy();
  }
});

test('an agent further over its bound stops recording the costliest events, says so, and keeps processes right', {
  skip: cannotTrace,
}, async () => {
  // Over a bound on memory at once and for good, however much of the machine is left to it; matching has a tenth of a core.
  const bus = await Bus.start({
    BACKPLANE_AGENT_PROFILES: 'lite,syscall',
    BACKPLANE_AGENT_GUARD_CPU: '0',
    BACKPLANE_AGENT_GUARD_MEMORY: '16MiB',
  });
  const stop = new AbortController();
  try {
    const url = '/v1/events';
    const filter = encodeURIComponent('syscall.name == "getppid"');
    const live = await bus.get(`${url}?topic=syscall&follow=true&filter=${filter}`, { signal: stop.signal });
    const gaps: NonNullable<Result['gap']>[] = [];
    void readLive(live, ({ gap }) => {
      if (gap?.reason === 'overhead') gaps.push(gap);
    });
    const message = await told(bus, (text) => text.includes('events of syscall are not recorded'));
    assert.match(message, /live matching is slowed, subscribers lag; events of syscall are not recorded/);
    const mark = randomBytes(8).toString('hex');
    let seen = 0;
    let coverage: Result['coverage'];
    await until('a program with its arguments', async () => {
      // A program that ends at once may be gone before its arguments are read.
      await promisify(execFile)('/bin/echo', [mark]);
      await readLines<Result>(await bus.get(`${url}?topic=process&since=1h`), (result) => {
        if (result.event?.process?.commandArgs?.includes(mark)) seen += 1;
        coverage = result.coverage ?? coverage;
        return true;
      });
      return seen > 0;
    });
    assert.deepEqual(coverage?.nodes[0]?.losses ?? [], [], 'nothing of this topic is missing');
    const past = await bus.get(`${url}?topic=syscall&since=1h&filter=${filter}`);
    await readLines<Result>(past, (result) => {
      coverage = result.coverage ?? coverage;
      return true;
    });
    const [loss] = coverage?.nodes[0]?.losses ?? [];
    assert.equal(loss?.reason, 'overhead', 'history says that something is missing, too');
    assert.match(loss?.message ?? '', /^events of the profile syscall are not recorded: the agent used .* would help$/);
    await until('a gap of its own', async () => gaps.length > 0);
    assert.equal(gaps.length, 1, 'told once');
    assert.match(gaps[0]?.message ?? '', /profile syscall/);
  } finally {
    stop.abort();
    await bus.destroy();
  }
});

/** What a notice of overhead says, once it is the right one. */
async function told(bus: Bus, right: (text: string) => boolean): Promise<string> {
  let texts: string[] = [];
  return until(
    'a notice of overhead',
    async () => {
      texts = [];
      await readLines<Result>(await bus.get('/v1/events?topic=host&since=1h'), ({ event }) => {
        if (event?.type === 'host.degraded' && event.notice?.reason === 'overhead') texts.push(event.notice.message);
        return true;
      });
      return texts.find(right);
    },
    () => texts,
  );
}

/** Until it is aborted. */
async function readLive(response: Response, take: (result: Result) => void): Promise<void> {
  try {
    // Nothing need come while matching is slowed.
    await readLines<Result>(
      response,
      (result) => {
        take(result);
        return true;
      },
      true,
    );
  } catch (cause) {
    if (!(cause instanceof Error) || cause.name !== 'AbortError') throw cause;
  }
}
