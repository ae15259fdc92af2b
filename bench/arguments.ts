/** How many execs' arguments are caught: back-to-back /bin/true, and programs that live 5 ms. */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../test/end-to-end/bus.js';
import { report, round } from './report.js';

const RUNS = 1_000;

const bus = await Bus.start();
try {
  const rows = [];
  for (const [what, command, target] of [
    ['back-to-back /bin/true', '/bin/true', '>= 95'],
    ['programs that live 5 ms', '/bin/sleep 0.005', '>= 99.5'],
  ] as const) {
    const program = command.split(' ')[0]!;
    const observer = bus.observe(
      '--follow',
      '--filter',
      `event.type == "process.exec" && process.executable.path.endsWith("${program}")`,
    );
    await sleep(2_000);
    execFileSync('/bin/sh', ['-c', `i=0; while [ $i -lt ${RUNS} ]; do ${command}; i=$((i+1)); done`]);
    await sleep(2_000);
    await observer.stop('SIGINT');
    const seen = observer.events.length;
    const caught = observer.events.filter((event) => !event.process!.commandArgsMissed).length;
    rows.push({ what, execs: RUNS, seen, 'arguments caught': caught, '%': round((100 * caught) / RUNS), target });
  }
  report('arguments of short-lived programs', rows);
} finally {
  await bus.destroy();
}
