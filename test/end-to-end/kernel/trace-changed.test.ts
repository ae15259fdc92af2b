/** Somebody switches our tracing off: told live, in the node's status, as an event, and by every replay over it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Bus, Command, cannotTrace } from '../../harness/bus/bus.js';
import { until } from '../../harness/until.js';

/** The folder of an agent's trace instance, by the files that it has open. */
function instanceOf(pid: number): string {
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const path = readlinkSync(`/proc/${pid}/fd/${fd}`);
    const found = /^(.*\/instances\/backplane-[^/]+)\/per_cpu/.exec(path)?.[1];
    if (found && !found.endsWith('-exec')) return found;
  }
  throw new Error(`${pid} has no trace instance open`);
}

test('tracing that somebody else switched off is switched on again, and all affected subscribers are told', {
  skip: cannotTrace,
}, async () => {
  const bus = await Bus.start();
  try {
    const follower = bus.observe('--follow', '--topic', 'process');
    const mark = `trace-changed-${process.pid}`;
    await until('it follows', async () => {
      await promisify(execFile)('/bin/echo', [`${mark}-before`]);
      return follower.events.some((event) => event.process?.commandArgs?.includes(`${mark}-before`));
    });
    const instance = instanceOf(await bus.agentPid());
    const since = new Date(Date.now() - 5_000).toISOString();
    writeFileSync(`${instance}/tracing_on`, '0');
    await until('it records again', () => readFileSync(`${instance}/tracing_on`, 'utf8').trim() === '1');
    await until('a gap', () => /trace_changed/.test(follower.stderr));
    await until('the status', () => /sees less than it should, .*tracing_on/.test(follower.stderr));
    await promisify(execFile)('/bin/echo', [mark]);
    await follower.sees((event) => event.process?.commandArgs?.includes(mark) ?? false);

    const told = bus.observe('--topic', 'host', '--since', since, '--filter', 'event.type == "host.degraded"');
    const { notice } = await told.sees((event) => event.notice?.reason === 'trace_changed');
    assert.match(notice?.message ?? '', /somebody (changed|wrote to) tracing_on/);
    const replay = new Command(['observe', '--topic', 'process', '--since', since, '-o', 'json'], {
      BACKPLANE_BROKERS: bus.grpc,
    });
    replay.child.stdout!.resume();
    assert.equal(await replay.exited, 4, replay.stderr);
    assert.match(replay.stderr, /trace_changed/);
  } finally {
    await bus.destroy();
  }
});
