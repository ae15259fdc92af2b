/** An agent that may take next to nothing of the machine: it says so, lags, and loses nothing. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Bus, cannotTrace } from './bus.js';

interface Result {
  readonly event?: {
    readonly type: string;
    readonly notice?: { readonly reason: string; readonly message: string };
    readonly process?: { readonly commandArgs?: readonly string[] };
  };
  readonly gap?: object;
  readonly coverage?: { readonly nodes: readonly { readonly lostUnknown: boolean }[] };
}

test('over its bound an agent slows live matching: it is told, and every event still comes, later', async () => {
  const bus = await Bus.start({
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: '500',
    BACKPLANE_SYNTHETIC_MIX: 'numbered=1',
    BACKPLANE_AGENT_GUARD_CPU: '1',
  });
  try {
    const numbers: number[] = [];
    const stop = new AbortController();
    const url = '/v1/events';
    const live = await bus.get(`${url}?topic=process&follow=true&since=1h`, { signal: stop.signal });
    const reading = read(live, ({ event, gap }) => {
      assert.equal(gap, undefined, 'nothing is missing');
      const number = /^--sequence=(\d+)$/.exec(event?.process?.commandArgs?.at(-1) ?? '')?.[1];
      if (number !== undefined) numbers.push(Number(number));
    });
    let message = '';
    while (message === '') {
      await sleep(500);
      await read(await bus.get(`${url}?topic=host&since=1h`), ({ event }) => {
        if (event?.type === 'host.degraded' && event.notice?.reason === 'overhead') message = event.notice.message;
      });
    }
    assert.match(message, /^the agent used \d+ % of a core \(agent\.guard\.cpu 1 %\) .*live matching is slowed/);
    const nodes = await (await bus.get('/v1/nodes')).text();
    assert.match(nodes, /live matching is slowed, subscribers lag/);
    const before = numbers.length;
    while (numbers.length < before + 500) await sleep(100);
    stop.abort();
    await reading;
    const first = numbers[0]!;
    assert.ok(numbers.every((number, at) => number === first + at));
  } finally {
    await bus.destroy();
  }
});

test('further over its bound it gives up recording the costliest events, says so, and keeps processes right', {
  skip: cannotTrace,
}, async () => {
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'lite,syscall', BACKPLANE_AGENT_GUARD_CPU: '1' });
  const stop = new AbortController();
  try {
    const url = '/v1/events';
    const filter = encodeURIComponent('syscall.name == "getppid"');
    const live = await bus.get(`${url}?topic=syscall&follow=true&filter=${filter}`, { signal: stop.signal });
    void read(live, () => undefined);
    let message = '';
    while (message === '') {
      // Something to do, so that it is over a bound of next to nothing.
      for (let count = 0; count < 100; count++) await promisify(execFile)('/bin/true');
      await read(await bus.get(`${url}?topic=host&since=1h`), ({ event }) => {
        const text = event?.type === 'host.degraded' ? (event.notice?.message ?? '') : '';
        if (text.includes('events of syscall are not recorded')) message = text;
      });
    }
    assert.match(message, /live matching is slowed, subscribers lag; events of syscall are not recorded/);
    const mark = `overhead-${process.pid}-${Date.now()}`;
    await promisify(execFile)('/bin/echo', [mark]);
    let seen = 0;
    let coverage: Result['coverage'];
    while (seen === 0) {
      await read(await bus.get(`${url}?topic=process&since=1m`), (result) => {
        if (result.event?.process?.commandArgs?.includes(mark)) seen += 1;
        coverage = result.coverage ?? coverage;
      });
    }
    assert.equal(coverage?.nodes[0]?.lostUnknown, true, 'history says that something is missing, too');
  } finally {
    stop.abort();
    await bus.destroy();
  }
});

async function read(response: Response, take: (result: Result) => void): Promise<void> {
  let text = '';
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body!) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) if (line !== '') take((JSON.parse(line) as { result: Result }).result);
    }
  } catch (cause) {
    if (!(cause instanceof Error) || cause.name !== 'AbortError') throw cause;
  }
}
