/**
 * What an agent takes while somebody listens to everything it sees, by how many programs are started: what its guard's
 * default (agent.guard.cpu) goes by. Runs without the guard, as root.
 *
 *   node dist/bench/live-cost.js
 */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../test/end-to-end/bus.js';
import { cpuSeconds, residentMiB } from './process-cost.js';
import { report, round } from './report.js';

const SECONDS = 10;
const SETTLE_MS = 5_000;
const EXECS_PER_SECOND = [0, 10, 50, 100, 300, 1_000];

/** Python starts a program and waits for it, at a given pace. */
const LOAD = `
import subprocess, sys, time
period = 1 / float(sys.argv[1])
due = time.time()
while True:
    subprocess.call(['/bin/true', 'x'])
    due += period
    time.sleep(max(0, due - time.time()))
`;

const bus = await Bus.start({ BACKPLANE_AGENT_GUARD_CPU: '0', BACKPLANE_AGENT_GUARD_MEMORY: '0' });
const stop = new AbortController();
try {
  const agent = await bus.agentPid();
  let bytes = 0;
  const measure = async (execsPerSecond: number, listeners: number) => {
    const load = execsPerSecond === 0 ? undefined : spawn('python3', ['-c', LOAD, String(execsPerSecond)]);
    await sleep(SETTLE_MS);
    const [cpu, ms, before] = [cpuSeconds(agent), performance.now(), bytes];
    await sleep(SECONDS * 1000);
    const seconds = (performance.now() - ms) / 1000;
    load?.kill('SIGKILL');
    return {
      listeners,
      'execs/s asked': execsPerSecond,
      'JSON to the listener, KiB/s': round((bytes - before) / 1024 / seconds, 1),
      'agent CPU, % of a core': round(((cpuSeconds(agent) - cpu) * 100) / seconds, 1),
      'resident, MiB': round(residentMiB(agent), 0),
    };
  };
  const rows = [await measure(0, 0)];
  const live = await bus.get('/v1/events?follow=true', { signal: stop.signal });
  const reading = (async () => {
    for await (const chunk of live.body!) bytes += chunk.length;
  })().catch(() => undefined);
  for (const each of EXECS_PER_SECOND) rows.push(await measure(each, 1));
  stop.abort();
  await reading;
  report('an agent somebody listens to, all topics, no guard', rows);
} finally {
  await bus.destroy();
}
