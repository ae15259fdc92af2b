/** Agent on a quiet machine, default profile, no subscriber: CPU and resident memory. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../../test/harness/bus/bus.js';
import { cpuSeconds, peakMiB, residentMiB } from '../measuring/process-cost.js';
import { median, report, round } from '../measuring/report.js';

const STRETCHES = 6;
const SECONDS = 10;

const bus = await Bus.start();
try {
  const agent = await bus.agentPid();
  await sleep(5_000);
  const shares: number[] = [];
  for (let stretch = 0; stretch < STRETCHES; stretch += 1) {
    const before = { cpu: cpuSeconds(agent), ms: performance.now() };
    await sleep(SECONDS * 1000);
    shares.push(((cpuSeconds(agent) - before.cpu) / (performance.now() - before.ms)) * 100_000);
  }
  report('agent on a quiet machine', [
    { what: 'CPU, % of a core', median: round(median(shares)), max: round(Math.max(...shares)), target: '<= 0.5' },
    { what: 'resident, MiB', median: round(residentMiB(agent), 1), max: round(peakMiB(agent), 1), target: '<= 128' },
  ]);
} finally {
  await bus.destroy();
}
