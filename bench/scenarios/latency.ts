/**
 * Kernel time stamp -> line in `observe --follow`: programs one at a time on an idle machine, at about 1,000 execs a
 * second, and as fast as two loops start them. As root.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, Command, type EventLine } from '../../test/harness/bus/bus.js';
import { delayMs } from '../measuring/delay.js';
import { cpuSeconds } from '../measuring/process-cost.js';
import { quantile, report, round } from '../measuring/report.js';

const SECONDS = Number(process.argv[2] ?? 15);

/** What each of two shells runs. */
const LOADS = {
  'one every 100 ms': 'while :; do /bin/true; sleep 0.1; done',
  'bursts of ten': 'while :; do for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; sleep 0.008; done',
  'back to back': 'while :; do /bin/true; done',
};

const bus = await Bus.start();
try {
  const agent = await bus.agentPid();
  const observer = new Command(
    ['observe', '-o', 'json', '--follow', '--filter', 'event.type == "process.exec"'],
    bus.env,
    false,
  );
  const delays: number[] = [];
  createInterface({ input: observer.child.stdout! }).on('line', (line) => {
    delays.push(delayMs((JSON.parse(line) as EventLine).time));
  });
  await sleep(2_000);
  const rows = [];
  for (const [what, script] of Object.entries(LOADS)) {
    const loads = [0, 1].map(() => spawn('/bin/sh', ['-c', script], { stdio: 'ignore' }));
    await sleep(2_000);
    delays.length = 0;
    const cpu = cpuSeconds(agent);
    await sleep(SECONDS * 1000);
    const used = cpuSeconds(agent) - cpu;
    for (const load of loads) load.kill('SIGKILL');
    rows.push({
      'two shells, each': what,
      'execs/s': round(delays.length / SECONDS, 0),
      'p50 ms': round(quantile(delays, 0.5)),
      'p99 ms': round(quantile(delays, 0.99)),
      'max ms': round(Math.max(...delays)),
      'agent CPU %': round((used / SECONDS) * 100, 1),
      target: 'p50 <= 120, p99 <= 250',
    });
    await sleep(3_000);
  }
  await observer.stop('SIGINT');
  report('kernel time stamp to line', rows);
} finally {
  await bus.destroy();
}
