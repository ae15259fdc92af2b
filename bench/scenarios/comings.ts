/**
 * Whether subscribers in a hurry leave an agent as light as they found it: with nobody listening, and with one listener
 * who stays, before and after one with `--latency 25ms` has come and gone a hundred times. Wake-ups are what a shorter
 * linger costs, and are counted whatever else the machine does. The events are synthetic, so that there are always as many.
 *
 *   node dist/bench/scenarios/comings.js [TIMES [SECONDS]]
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { INTEREST_GRACE_MS } from '../../src/limits.js';
import { Bus, Command } from '../../test/harness/bus/bus.js';
import { cpuSeconds, residentMiB } from '../measuring/process-cost.js';
import { report, round } from '../measuring/report.js';

const TIMES = Number(process.argv[2] ?? 100);
const SECONDS = Number(process.argv[3] ?? 30);
const EVENTS_PER_SECOND = 20;
/** Until what runs often is compiled. */
const WARM_UP_MS = 60_000;
/** An agent goes on for a while with what was asked for. */
const SETTLE_MS = INTEREST_GRACE_MS + 2_000;

const bus = await Bus.start({
  BACKPLANE_SOURCE: 'synthetic',
  BACKPLANE_SYNTHETIC_RATE: String(EVENTS_PER_SECOND),
  BACKPLANE_SYNTHETIC_MIX: 'life=1',
});
const agent = await bus.agentPid();
const rows = [];
try {
  await hurried();
  await sleep(SETTLE_MS);
  rows.push(await measure('nobody listens, before'));
  await comeAndGo();
  rows.push(await measure('nobody listens, after'));
  const listener = observe();
  await sleep(WARM_UP_MS);
  rows.push(await measure('one listener, before'));
  await comeAndGo();
  rows.push(await measure('one listener, after'));
  await listener.stop('SIGINT');
} finally {
  await bus.destroy();
}
report('an agent before and after subscribers with --latency 25ms', rows, { times: TIMES, seconds: SECONDS });

function observe(...args: string[]): Command {
  const command = new Command(['observe', '-o', 'json', '--follow', '--all', ...args], bus.env, false);
  command.child.stdout!.on('data', () => {});
  return command;
}

/** So that what they make run is compiled before anything is measured. */
async function hurried(): Promise<void> {
  const command = observe('--latency', '25ms');
  await sleep(WARM_UP_MS);
  await command.stop('SIGINT');
}

async function comeAndGo(): Promise<void> {
  for (let time = 0; time < TIMES; time += 1) {
    const command = observe('--latency', '25ms');
    await once(command.child.stdout!, 'data');
    await command.stop('SIGINT');
  }
  await sleep(SETTLE_MS);
}

async function measure(what: string) {
  const began = { cpu: cpuSeconds(agent), wakeUps: wakeUps(agent), ms: performance.now() };
  await sleep(SECONDS * 1000);
  const seconds = (performance.now() - began.ms) / 1000;
  return {
    what,
    'wake-ups/s': round((wakeUps(agent) - began.wakeUps) / seconds, 1),
    'CPU, % of a core': round(((cpuSeconds(agent) - began.cpu) / seconds) * 100),
    MiB: round(residentMiB(agent), 0),
    descriptors: readdirSync(`/proc/${agent}/fd`).length,
  };
}

/** How often its main thread has waited for something. */
function wakeUps(pid: number): number {
  const status = readFileSync(`/proc/${pid}/task/${pid}/status`, 'utf8');
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
}
