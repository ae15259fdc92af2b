/** The doctor on this machine. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runDoctor } from '../../../src/sensor-agent/doctor/doctor.js';
import { containerRuntimes } from '../../../src/sensor-agent/doctor/doctor-containers.js';
import { compileRules } from '../../../src/sensor-agent/redaction/rule.js';
import { define, probeGroup, undefine } from '../../../src/sensor-agent/source/probe/definitions.js';
import { LITE_EVENTS } from '../../../src/sensor-agent/source/tracefs/profile-events.js';
import { liveTracefs } from '../../harness/kernel/live-kernel.js';

const live = liveTracefs();

/** Of a kubelet, which is not asked here. */
const FILES = { token: '', ca: '' };

test('doctor tries everything the agent needs, reports it, and removes it again', { skip: live.skip }, async (t) => {
  const stray = `${probeGroup(`stray-${process.pid}`)}/exec`;
  if (existsSync(join(live.path, 'uprobe_events'))) {
    define(live.path, stray, `${process.execPath}:0x1000`, 'a=+0(%sp):u64');
    t.after(() => undefine(live.path, stray));
  }
  const checks = await runDoctor(compileRules({ rules: [], off: [] }), ['auto'], FILES);
  const state = (name: string) => checks.find((check) => check.name === name)?.state;
  for (const name of ['tracefs', 'trace instance', 'boot clock', 'kernel filters', 'kernel buffers']) {
    assert.equal(state(name), 'ok', name);
  }
  assert.match(state('arguments of programs')!, /^(ok|limited)$/);
  assert.match(state('container runtime')!, /^(ok|limited)$/);
  for (const name of ['paths of files', 'names in calls', 'users of processes', 'datagrams and names asked of DNS'])
    assert.match(state(name)!, /^(ok|limited)$/);
  const { detail } = checks.find((check) => check.name === 'redaction of process.command_args')!;
  assert.match(detail, /^\d+ rules: secret-assignment, .*\bjwt\b/);
  for (const event of LITE_EVENTS) assert.equal(state(`event ${event}`), 'ok', event);
  for (const name of ['profile security', 'profile file', 'profile udp', 'profile syscall'])
    assert.match(state(name)!, /^(ok|limited)$/, name);
  for (const name of ['uprobes', 'kprobes', 'event probes']) assert.match(state(name)!, /^(ok|limited)$/);
  const { detail: strays, mend } = checks.find((check) => check.name === 'probes left behind')!;
  if (existsSync(join(live.path, 'uprobe_events'))) assert.ok(strays.includes(stray) && mend!.includes(`-:${stray}`));
  for (const { name, detail } of checks) {
    assert.ok(detail.length > 0 && !detail.includes('\n'));
    assert.ok(!detail.includes('"doctor"'), `${name} refers to the doctor, which is this: ${detail}`);
    const sentences = detail.split('; ');
    assert.equal(new Set(sentences).size, sentences.length, `${name} says a thing twice: ${detail}`);
  }
  const left = readdirSync(join(live.path, 'instances')).filter((name) => name.includes(`doctor-${process.pid}`));
  assert.deepEqual(left, []);
  assert.ok(!readFileSync(join(live.path, 'dynamic_events'), 'utf8').includes(`backplane_doctor_${process.pid}`));
});

test('the doctor asks the runtimes that the agent would ask: a socket that is not there is said, and off is off', async () => {
  const named = await containerRuntimes(['unix:///nowhere/c.sock'], FILES);
  assert.equal(named.state, 'limited');
  assert.match(named.detail, /^\/nowhere\/c\.sock: not there/);
  const { state, detail } = await containerRuntimes(['off'], FILES);
  assert.deepEqual([state, detail], ['ok', 'none is asked: ids of containers stand alone']);
});
