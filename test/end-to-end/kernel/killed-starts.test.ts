/** Programs that are started while no agent is there are told with their arguments by the next, also where that one is killed in its start. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, Command, cannotTrace } from '../../harness/bus/bus.js';
import { runSeen } from '../../harness/bus/program.js';
import { instancesOf } from '../../harness/kernel/agent-instances.js';
import { cannotProbePrograms } from '../../harness/kernel/live-kernel.js';
import { runs } from '../../harness/runs.js';
import { until } from '../../harness/until.js';

const ROUNDS = runs(2);
const PROGRAMS = 40;
const KILLED_WITHIN_MS = 150;

test('programs that start while the agent is dead, and killed twice in its start, come with their arguments', {
  skip: cannotTrace || cannotProbePrograms(),
}, async () => {
  const bus = await Bus.start();
  const mark = randomBytes(8).toString('hex');
  const started: string[] = [];
  const start = (round: number, when: string) => {
    for (let run = 0; run < PROGRAMS; run++) {
      started.push(`${round} ${when} ${run}`);
      spawnSync('/bin/true', [mark, started.at(-1)!]);
    }
  };
  const both = async (command: Command, pid: () => number | Promise<number>) =>
    until('both instances', async () => instancesOf(await pid()).length === 2 || command.goesOn());
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await both(bus.up, () => bus.agentPid());
      const agentPid = await bus.agentPid();
      // Without its parent, which would start it again.
      process.kill(bus.up.child.pid!, 'SIGSTOP');
      process.kill(agentPid, 'SIGKILL');
      await bus.up.stop('SIGKILL');
      start(round, 'dead');
      for (const time of ['first', 'second']) {
        const agent = new Command(['agent'], {
          ...{ BACKPLANE_DATA_DIR: bus.dataDir, BACKPLANE_BROKERS: '127.0.0.1:1', BACKPLANE_LOG_LEVEL: 'warn' },
        });
        await both(agent, () => agent.child.pid!);
        await sleep(Math.random() * KILLED_WITHIN_MS);
        await agent.stop('SIGKILL');
        start(round, time);
      }
      await bus.start();
    }
    // Its arguments are told after those of all programs before it.
    const observer = await bus.follow('--filter', 'event.type == "process.exec"');
    await runSeen(observer, mark, 'last');
    const history = bus.observe('--since', '1h', '--filter', 'event.type == "process.exec"');
    assert.equal(await history.exited, 0, history.stderr);
    const ours = history.events.filter(({ process: found }) => found?.commandArgs?.[1] === mark);
    const told = ours.map(({ process: found }) => found!.commandArgs![2]!);
    assert.deepEqual(told, started);
  } finally {
    await bus.destroy();
  }
});
