/** Kernel time stamp -> line in `observe --follow`, at about 1,000 execs a second. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, Command, type EventLine } from '../test/end-to-end/bus.js';
import { cpuSeconds } from './process-cost.js';
import { quantile, report, round } from './report.js';

const SECONDS = 15;

const bus = await Bus.start();
try {
  const agent = await bus.agentPid();
  const observer = new Command(['observe', '-o', 'json', '--follow', '--filter', 'event.type == "process.exec"'], {
    BACKPLANE_BROKERS: bus.grpc,
  });
  const delays: number[] = [];
  createInterface({ input: observer.child.stdout! }).on('line', (line) => {
    const now = Date.now() + (performance.now() % 1);
    const event = JSON.parse(line) as EventLine;
    delays.push(now - Number(rfc3339Ns(event.time)) / 1e6);
  });
  await sleep(2_000);
  const script = `while :; do for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; sleep 0.008; done`;
  const loads = [0, 1].map(() => spawn('/bin/sh', ['-c', script], { stdio: 'ignore' }));
  await sleep(2_000);
  delays.length = 0;
  const cpu = cpuSeconds(agent);
  await sleep(SECONDS * 1000);
  const used = cpuSeconds(agent) - cpu;
  for (const load of loads) load.kill('SIGKILL');
  await observer.stop('SIGINT');
  report('kernel time stamp to line', [
    {
      'execs/s': round(delays.length / SECONDS, 0),
      'p50 ms': round(quantile(delays, 0.5)),
      'p99 ms': round(quantile(delays, 0.99)),
      'max ms': round(Math.max(...delays)),
      'agent CPU %': round((used / SECONDS) * 100, 1),
      target: 'p50 <= 15, p99 <= 50',
    },
  ]);
} finally {
  await bus.destroy();
}

function rfc3339Ns(text: string): bigint {
  const [whole, fraction = ''] = text.replace('Z', '').split('.');
  return BigInt(Date.parse(`${whole}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}
