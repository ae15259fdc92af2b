/** Trace instances that outlive their agent: `up` removes them, `doctor` names them, and no living agent loses its own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { definitionsOf, probeGroup } from '../../../src/sensor-agent/source/probe/definitions.js';
import { removeInstancesOf } from '../../../src/sensor-agent/source/tracefs/strays.js';
import { Bus, cannotTrace, MAIN } from '../../harness/bus/bus.js';
import { instancesOf } from '../../harness/kernel/agent-instances.js';
import { until } from '../../harness/until.js';

const tracefs = ([path = '']: readonly string[]) => path.replace(/\/instances\/.*$/, '');

/** The group of its probes. */
function groupOf([path = '']: readonly string[]): string {
  return probeGroup(path.replace(/^.*\/backplane-/, '').replace(/-exec$/, ''));
}

async function running(): Promise<{ bus: Bus; agent: number; instances: string[] }> {
  const bus = await Bus.start();
  const agent = await bus.agentPid();
  // A third is for containers that there may be.
  const instances = await until('its instances', () => {
    const found = instancesOf(agent);
    return found.length >= 2 && found;
  });
  return { bus, agent, instances };
}

test('up that has to kill its stuck agent removes the trace instances that the agent leaves', {
  skip: cannotTrace,
}, async () => {
  const { bus, agent, instances } = await running();
  try {
    assert.deepEqual(removeInstancesOf(`${bus.dataDir}/recorder`, 0), [], 'its agent lives');
    assert.ok(instances.every((path) => existsSync(path)));
    process.kill(agent, 'SIGSTOP');
    assert.equal(await bus.up.stop('SIGTERM'), 0);
    for (const path of instances) assert.equal(existsSync(path), false, path);
    assert.deepEqual(definitionsOf(tracefs(instances), groupOf(instances)) ?? [], []);
  } finally {
    await bus.destroy();
  }
});

test('up that ends while its agent is gone removes the trace instances that the agent left', {
  skip: cannotTrace,
}, async () => {
  const { bus, agent, instances } = await running();
  try {
    process.kill(agent, 'SIGKILL');
    assert.equal(await bus.up.stop('SIGTERM'), 0);
    for (const path of instances) assert.equal(existsSync(path), false, path);
  } finally {
    await bus.destroy();
  }
});

test('trace instances that remain when both are killed are named by doctor', {
  skip: cannotTrace,
}, async () => {
  const { bus, agent, instances } = await running();
  try {
    process.kill(bus.up.child.pid!, 'SIGSTOP');
    process.kill(agent, 'SIGKILL');
    await bus.up.stop('SIGKILL');
    assert.ok(instances.every((path) => existsSync(path)));
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, 'doctor', '-o', 'json']);
    const checks = stdout.trim().split('\n');
    const check = checks.find((line) => line.includes('trace instances left behind')) ?? '';
    for (const path of instances) assert.ok(check.includes(path), `${path} in ${check}`);
    const removed = removeInstancesOf(`${bus.dataDir}/recorder`, 1_000);
    assert.ok(removed.length >= 2);
    for (const path of instances) assert.equal(existsSync(path), false, path);
    assert.deepEqual(definitionsOf(tracefs(instances), groupOf(instances)) ?? [], []);
  } finally {
    await bus.destroy();
  }
});
