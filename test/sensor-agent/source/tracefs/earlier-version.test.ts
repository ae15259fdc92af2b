/** What an agent of an earlier version left that was killed: its probes have our names, and fetch something else. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  allDefined,
  define,
  probeGroup,
  recordedGroup,
  undefine,
} from '../../../../src/sensor-agent/source/probe/definitions.js';
import { put } from '../../../../src/sensor-agent/source/tracefs/put.js';
import { PROFILES } from '../../../../src/subscriptions/pushdown/catalogue.js';
import { Bus, cannotTrace } from '../../../harness/bus/bus.js';
import { runSeen } from '../../../harness/bus/program.js';
import { leftOf } from '../../../harness/kernel/agent-instances.js';
import { cannotProbeKernel, cannotProbePrograms, liveTracefs } from '../../../harness/kernel/live-kernel.js';
import { linkerPlace } from '../../../harness/kernel/other-tool.js';
import { until } from '../../../harness/until.js';

const PROGRAMS = 20;
const { path: tracefs } = liveTracefs();

test('what probes of an earlier version recorded is told as theirs, then they are replaced, which is said to be a gap', {
  skip: cannotTrace || cannotProbePrograms(),
}, async () => {
  // With all probes that there are: of the others none is taken for an earlier version's.
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: PROFILES.join() });
  try {
    // Without its parent, which would start it again.
    const agentPid = await bus.agentPid();
    process.kill(bus.up.child.pid!, 'SIGSTOP');
    process.kill(agentPid, 'SIGKILL');
    await bus.up.stop('SIGKILL');
    const instance = leftOf(bus.dataDir).instances.find((name) => /^backplane-[0-9a-f]+$/.test(name))!;
    const id = instance.slice('backplane-'.length);
    const event = `${recordedGroup(id)}/do_exit`;
    const enable = join(tracefs, 'instances', instance, 'events', event, 'enable');
    const ours = allDefined(tracefs)!.get(event);
    if (existsSync(enable)) {
      put(enable, '0');
      assert.ok(undefine(tracefs, event));
    }
    // A kernel without probes in itself takes the name for a place in a program.
    const [place, fetch] = cannotProbeKernel() ? [linkerPlace(), '+0(%sp)'] : ['do_exit', '%sp'];
    define(tracefs, event, place, `code=${fetch}:s64`);
    put(enable, '1');
    // Probes of execs say in their names what they fetch.
    const [name, what] = [...allDefined(tracefs)!].find(([each]) => each.startsWith(`${probeGroup(id)}/`))!;
    const earlier = name.replace(/[0-9a-f]+$/, '0ddba11');
    define(tracefs, earlier, cannotProbeKernel() ? linkerPlace() : what.split(' ')[0]!, 'stack=%sp:u64');
    put(join(tracefs, 'instances', `${instance}-exec`, 'events', earlier, 'enable'), '1');
    const mark = randomBytes(8).toString('hex');
    const started = Array.from({ length: PROGRAMS }, (_, at) => spawnSync('/bin/true', [mark, String(at)]).pid);
    await bus.start({ BACKPLANE_AGENT_PROFILES: PROFILES.join() });
    assert.equal(allDefined(tracefs)!.get(event), ours);
    await until('that the probe of execs is gone', () => !allDefined(tracefs)!.has(earlier));
    const observer = await bus.follow('--filter', 'event.type == "process.exec"');
    await runSeen(observer, mark, 'last');
    const history = bus.observe('--since', '1h', '--filter', 'event.type in ["process.exec", "host.start"]');
    assert.equal(await history.exited, 0, history.stderr);
    const told = history.events.filter(
      ({ process: by }) => by?.executable?.path === '/bin/true' && started.includes(by.pid),
    );
    // On a crowded machine the buffer of copies may have been full before anybody read it: the oldest are missed then.
    assert.deepEqual(
      told.map(({ process: by }) => [by!.pid, by!.commandArgsMissed ? 'missed' : by!.commandArgs]),
      started.map((pid, at) => [
        pid,
        told[at]?.process?.commandArgsMissed ? 'missed' : ['/bin/true', mark, String(at)],
      ]),
    );
    assert.match(history.stderr, /an unknown number of events lost/);
    const starts = history.events.filter(({ type }) => type === 'host.start');
    assert.match(starts.at(-1)?.notice?.message ?? '', /1 probes of an earlier version were defined anew/);
  } finally {
    await bus.destroy();
  }
});
