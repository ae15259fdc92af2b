/**
 * What any user can do to whoever copies arguments in the kernel: long ones, many of them, in processes that come and
 * go. Fetched strings have overwritten page tables on 5.10 and raise warnings on later kernels (CVE-2024-50067). The
 * runner looks for the kernel's complaints; here, no program may come without its arguments.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { ARGUMENTS_BYTES_MAX } from '../../../src/limits.js';
import { EXEC_WAYS } from '../../../src/sensor-agent/source/exec/exec-ways.js';
import { ExecProbe } from '../../../src/sensor-agent/source/probe/exec-probe.js';
import { liveTracefs, probeOptions } from '../../harness/kernel/live-kernel.js';
import { until } from '../../harness/until.js';

const COUNTS = [1, 5, 60];
const BYTES = [3_900, 4_000, 4_094, 4_095, 4_096, 4_097, 12_000, 60_000];
const ROUNDS = 3;
/** A user that may do nothing. */
const NOBODY = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];

const live = liveTracefs();
for (const way of live.skip ? [] : EXEC_WAYS) {
  test(`long and many arguments of an unprivileged user's programs (${way.name})`, async (t) => {
    const options = probeOptions(`attack-${process.pid}`);
    const { seen } = options;
    let probe: ExecProbe;
    try {
      probe = new ExecProbe(options, way);
    } catch (cause) {
      return t.skip((cause as Error).message);
    }
    const draining = setInterval(() => probe.drain(), 10);
    try {
      await probe.prove();
      const own = randomBytes(12).toString('hex');
      const wanted = new Map<string, string[]>();
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const count of COUNTS) {
          for (const bytes of BYTES) {
            const id = `${own}-${round}-${count}-${bytes}`;
            const args = [
              id,
              ...Array.from({ length: count }, (_, at) => String.fromCharCode(97 + (at % 26)).repeat(bytes)),
            ];
            if (args.join('').length > 1_900_000) continue;
            wanted.set(id, args);
            const { status, error } = spawnSync('setpriv', [...NOBODY, '/usr/bin/true', ...args]);
            assert.equal(status, 0, String(error));
          }
        }
      }
      const found = () =>
        seen.execs.filter(({ process: one }) => one?.args?.[0] === '/usr/bin/true' && one.args[1]?.startsWith(own));
      await until(
        'all of them',
        () => found().length === wanted.size,
        () => found().length,
      );
      for (const { process: one } of found()) {
        const args = ['/usr/bin/true', ...wanted.get(one!.args![1]!)!];
        if (one!.argsTruncated === undefined) assert.deepEqual(one!.args, args);
        else {
          const whole = one!.args!.slice(0, -1);
          assert.deepEqual(whole, args.slice(0, whole.length));
          assert.ok(args[whole.length]!.startsWith(one!.args!.at(-1)!));
          assert.ok(args.join('\0').length > 1_000 || one!.args!.join('').length >= ARGUMENTS_BYTES_MAX);
        }
      }
    } finally {
      clearInterval(draining);
      await probe.stop();
    }
  });
}
