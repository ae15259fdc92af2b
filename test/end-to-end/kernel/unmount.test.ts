/** An agent's probes keep no container's filesystem busy: it can be unmounted within seconds of its last process. */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { Bus, cannotTrace } from '../../harness/bus/bus.js';
import { leftOf } from '../../harness/kernel/agent-instances.js';
import { containerRoot } from '../../harness/kernel/container-root.js';
import { cannotProbePrograms } from '../../harness/kernel/live-kernel.js';
import { until } from '../../harness/until.js';

const PROGRAMS = 20;

test("a container's filesystem can be unmounted when its last process has ended", {
  skip: cannotTrace || cannotProbePrograms(),
}, async (t) => {
  const root = containerRoot();
  if (root === undefined) return t.skip('needs a root of its own');
  const bus = await Bus.start();
  try {
    const living = spawn('chroot', [root, '/bin/sleep', '600'], { stdio: 'ignore' });
    const ended = once(living, 'close');
    // Where the kernel has kprobes, no file of the container has one.
    const itsProbe = new RegExp(`/exec_\\d+_\\d+_${statSync(root).dev.toString(16)}_`);
    const probed = () => leftOf(bus.dataDir).definitions.some((event) => itsProbe.test(event));
    const byKernel = () => leftOf(bus.dataDir).definitions.some((event) => event.includes('/kernel_exec_'));
    await until('its probe', () => probed() || byKernel());
    const mark = randomBytes(8).toString('hex');
    const observer = await bus.follow('--filter', `event.type == "process.exec" && "${mark}" in process.command_args`);
    for (let run = 0; run < PROGRAMS; run++) spawnSync('chroot', [root, '/bin/true', mark, String(run)]);
    // `chroot` itself is started with two more.
    const toldWhole = () => observer.events.filter(({ process: found }) => found?.commandArgs?.length === 3).length;
    await until('its programs with their arguments', () => toldWhole() === PROGRAMS, toldWhole);
    living.kill('SIGKILL');
    await ended;
    const endedMs = performance.now();
    await until('that nothing holds it', () => spawnSync('umount', [root]).status === 0);
    t.diagnostic(`unmounted ${Math.round(performance.now() - endedMs)} ms after its last process`);
    await until('that its probe is gone', () => !probed());
  } finally {
    await bus.destroy();
    spawnSync('umount', ['-l', root]);
  }
});
