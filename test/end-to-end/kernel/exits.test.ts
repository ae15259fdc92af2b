/** How a process ended, which the kernel's tracepoints do not say: where it has kprobes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Bus, cannotTrace, type EventLine } from '../../harness/bus/bus.js';
import { cannotProbeKernel } from '../../harness/kernel/live-kernel.js';

const skip = cannotTrace || cannotProbeKernel();

let bus: Bus;
before(async () => {
  if (!skip) bus = await Bus.start();
});
after(async () => {
  if (!skip) await bus.destroy();
});

/** A program, and how it is to be said to have ended. */
const ENDS = [
  { script: 'exit 0', code: 0 },
  { script: 'exit 7', code: 7 },
  { script: 'exit 255', code: 255 },
  { script: 'kill -KILL $$', signal: 'SIGKILL' },
  { script: 'kill -TERM $$', signal: 'SIGTERM' },
  // A child's end is its own.
  { script: '(exit 3); exit 4', code: 4 },
];

test('how each process ended is told where it is named, live as in history, and to nobody else', { skip }, async () => {
  const filter = 'event.type == "process.exit"';
  const fields = 'process.pid,process.exit_code,process.exit_signal';
  const plain = await bus.follow('--filter', filter);
  const named = await bus.follow('--filter', filter, '--field-mask', fields);
  const failed = await bus.follow('--filter', `${filter} && has(process.exit_code) && process.exit_code == 7`);
  const found = new Map<number, EventLine>();
  for (const { script, code, signal } of ENDS) {
    const child = spawn('sh', ['-c', script], { stdio: 'ignore' });
    const ended = await once(child, 'exit');
    assert.deepEqual(ended, [code ?? null, signal ?? null]);
    const event = await named.sees((each) => each.process?.pid === child.pid);
    assert.deepEqual([event.process!.exitCode, event.process!.exitSignal], [code, signal], script);
    const usual = await plain.sees((each) => each.process?.pid === child.pid);
    assert.deepEqual([usual.process!.exitCode, usual.process!.exitSignal], [undefined, undefined]);
    if (code === 7) await failed.sees((each) => each.process?.pid === child.pid);
    found.set(child.pid!, event);
  }
  // Threads end with codes of their own; the process with that of whoever ends it.
  const script =
    "new (require('worker_threads').Worker)('process.exit(9)', { eval: true }).on('exit', () => process.exit(5))";
  const threads = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  await once(threads, 'exit');
  const event = await named.sees((each) => each.process?.pid === threads.pid);
  assert.equal(event.process!.exitCode, 5);
  for (const observer of [plain, named, failed]) await observer.stop('SIGINT');
  const history = bus.observe('--since', '1h', '--filter', filter, '--field-mask', fields);
  assert.equal(await history.exited, 0, history.stderr);
  for (const [pid, { process: live }] of found)
    assert.deepEqual(history.events.find((each) => each.process?.pid === pid)?.process, live);
});
