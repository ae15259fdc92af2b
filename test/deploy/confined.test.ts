/** The agent within what Kubernetes gives it, and no more: it sees as much as one that may do everything. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Check } from '../../src/sensor-agent/doctor/doctor.js';
import { MAIN } from '../harness/bus/bus.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { find, manifestsIn } from './pods.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const missing = ['unshare', 'setpriv', 'nsenter', 'pivot_root'].filter(
  (tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0,
);
const skip =
  process.getuid?.() !== 0
    ? 'needs root on Linux with tracefs'
    : missing.length > 0
      ? `needs ${missing.join(', ')}`
      : IS_LONG
        ? false
        : 'takes seconds: npm run check';

test('the agent needs no capabilities but those of the DaemonSet', { skip }, () => {
  const manifest = find(
    manifestsIn(readFileSync('deploy/kubernetes/base/agent.yaml', 'utf8')),
    'DaemonSet',
    'backplane-agent',
  );
  const [{ command, securityContext }] = manifest.spec.template.spec.containers;
  // Process 1 of a machine for tests may be out of reach; this one has the same control groups.
  const enters = command!.slice(0, command!.indexOf('backplane')).map((word) => word.replace('=1', `=${process.pid}`));
  assert.ok(securityContext.capabilities.add.length > 0);
  const doctor = (...within: readonly string[]) => {
    const [program, ...words] = [...within, process.execPath, MAIN, 'doctor', '-o', 'json'];
    const env = { ...process.env, BACKPLANE_DATA_DIR: scratchDirectory('doctor') };
    const { stdout, stderr } = spawnSync(program!, words, { encoding: 'utf8', env });
    const checks = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Check]));
    assert.ok(checks.length > 20, stderr);
    // What others have left behind comes and goes.
    return checks.filter(({ name }) => !name.endsWith('left behind')).map(({ name, state }) => [name, state]);
  };
  const names = securityContext.capabilities.add.map((name) => `+${name.toLowerCase()}`).join(',');
  const script = ['test/deploy/confined.sh', scratchDirectory('root'), names, scratchDirectory('shared')];
  const confined = doctor('unshare', '--mount', '--cgroup', 'bash', ...script, ...enters);
  assert.deepEqual(confined, doctor());
});
