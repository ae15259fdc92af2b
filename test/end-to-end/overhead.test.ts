/** An agent that takes more of the machine than it may: it says so, step by step, lags, and loses nothing. */
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
  readonly nodeStatus?: { readonly state: string; readonly message?: string };
  readonly coverage?: {
    readonly nodes: readonly { readonly losses?: readonly { readonly reason: string; readonly message: string }[] }[];
  };
}

test('an agent over its CPU bound sends later in steps and says so to all who listen, and every event still arrives', async () => {
  const bus = await Bus.start({
    ...numberedEvents(500),
    BACKPLANE_AGENT_GUARD_CPU: '1',
    BACKPLANE_AGENT_GUARD_CPU_LIVE: '1',
    BACKPLANE_AGENT_GUARD_MEMORY: '0',
    // It keeps to a share of a core by the clock: on a crowded machine it would mask numbers, unexamined.
    BACKPLANE_REDACTION_OFF: 'all',
  });
  const stop = new AbortController();
  try {
    const numbers: number[] = [];
    const statuses: string[] = [];
    const url = '/v1/events';
    const live = await bus.get(`${url}?topic=process&follow=true&since=1h`, { signal: stop.signal });
    const reading = readLive(live, ({ event, gap, nodeStatus }) => {
      assert.equal(gap, undefined, 'nothing is missing');
      if (nodeStatus?.message) statuses.push(nodeStatus.message);
      const number = sequenceNumber(event?.process?.commandArgs);
      if (number !== undefined) numbers.push(number);
    });
    await told(bus, (text) => text.includes('live matching is slowed'));
    const steps = (await notices(bus)).map(({ message }) => message.replace(/^.*?: /, '').replace(/, .*/, ''));
    const inOrder = ['250ms', '500ms', '1s'].map((time) => `live events gather for ${time}`);
    assert.deepEqual(steps.slice(0, 4), [...inOrder, 'live matching is slowed to 0.7 % of a core']);
    const [first] = await notices(bus);
    assert.match(first!.message, /^the agent used [\d.]+ % of a core \([\d.]+ % allowed\) and \d+ MiB of memory: /);
    await until(
      'the subscriber, who asks for processes only, was told each step',
      () => [...inOrder, 'live matching is slowed'].every((step) => statuses.some((text) => text.includes(step))),
      () => statuses,
    );
    await until('the list of nodes says so', async () =>
      /live matching is slowed to 0.7 % of a core, live events are /.test(await (await bus.get('/v1/nodes')).text()),
    );
    const before = numbers.length;
    await until(
      'more events',
      () => numbers.length >= before + 100,
      () => numbers.length,
    );
    stop.abort();
    await reading;
    const firstNumber = numbers[0]!;
    assert.ok(numbers.every((number, at) => number === firstNumber + at));
  } finally {
    stop.abort();
    await bus.destroy();
  }
});

test('an agent further over its bound stops recording the costliest events, says so, and keeps processes right', {
  skip: cannotTrace,
}, async () => {
  // Over a bound on memory at once and for good, however much of the machine is left to it.
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
    assert.match(
      message,
      /live matching is slowed to 10 % of a core, live events are .* late; events of syscall are not recorded/,
    );
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
      const overloads = (await notices(bus)).filter(({ reason }) => reason === 'overhead');
      texts = overloads.map(({ message }) => message);
      return texts.find(right);
    },
    () => texts,
  );
}

/** All that the guard has said. */
async function notices(bus: Bus): Promise<readonly { readonly reason: string; readonly message: string }[]> {
  const found: { reason: string; message: string }[] = [];
  await readLines<Result>(await bus.get('/v1/events?topic=host&since=1h'), ({ event }) => {
    if (event?.notice?.reason.startsWith('overhead')) found.push(event.notice);
    return true;
  });
  return found;
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
