/** Programs that are started while no agent is there are told with their arguments by the next, also where that one is killed in its start. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, Command, cannotTrace, Observer } from '../../../harness/bus/bus.js';
import { runSeen } from '../../../harness/bus/program.js';
import { entriesRead, instancesOf, lanesOf } from '../../../harness/kernel/agent-instances.js';
import { cannotProbePrograms } from '../../../harness/kernel/live-kernel.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const ROUNDS = runs(2);
const PROGRAMS = 40;
/** From when its instances are open: it begins a moment later. */
const KILLED_WITHIN_MS = 60;

interface Program {
  readonly pid: number;
  readonly text: string;
  readonly round: number;
  /** An agent that had begun to record was killed in its round: what it had read by then, and not written, is lost. */
  mayLack: boolean;
}

/** What was read of the instance that arguments come from, by whoever. */
function argumentsRead(dataDir: string): number {
  return lanesOf(dataDir, /-exec$/).reduce((sum, lane) => sum + entriesRead(lane), 0);
}

/** Entries that an agent had read and not written when it was killed: the next one knows the number. */
function statedAsLost({ coverage, stderr }: Observer): number {
  const losses = coverage?.nodes.flatMap((node) => node.losses ?? []) ?? [];
  assert.ok(
    losses.every(({ reason }) => reason === 'agent_killed'),
    stderr,
  );
  return losses.reduce((sum, { events = 0 }) => sum + Number(events), 0);
}

test('programs that start while the agent is dead, and killed twice in its start, come with their arguments', {
  skip: cannotTrace || cannotProbePrograms(),
}, async () => {
  const bus = await Bus.start();
  const mark = randomBytes(8).toString('hex');
  const programs: Program[] = [];
  const start = (round: number, when: string) => {
    for (let run = 0; run < PROGRAMS; run++) {
      const text = `${round} ${when} ${run}`;
      programs.push({ pid: spawnSync('/bin/true', [mark, text]).pid, text, round, mayLack: false });
    }
  };
  const killed: { readonly round: number; readonly fromMs: number; readonly toMs: number }[] = [];
  const both = async (command: Command, pid: () => number | Promise<number>) =>
    until('its instances', async () => instancesOf(await pid()).length >= 2 || command.goesOn());
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await both(bus.up, () => bus.agentPid());
      await bus.kill();
      start(round, 'dead');
      for (const time of ['first', 'second']) {
        const [fromMs, readBefore] = [Date.now(), argumentsRead(bus.dataDir)];
        const agent = new Command(['agent'], {
          ...{ BACKPLANE_DATA_DIR: bus.dataDir, BACKPLANE_BROKERS: '127.0.0.1:1', BACKPLANE_LOG_LEVEL: 'warn' },
        });
        await both(agent, () => agent.child.pid!);
        // As soon as it has read something, which it must not before it can tell it; or at any moment of its start.
        if (time === 'first')
          await until('that it reads', () => argumentsRead(bus.dataDir) > readBefore || agent.goesOn());
        else await sleep(Math.random() * KILLED_WITHIN_MS);
        await agent.stop('SIGKILL');
        killed.push({ round, fromMs, toMs: Date.now() });
        start(round, time);
      }
      await bus.start();
    }
    // Its arguments are told after those of all programs before it.
    const observer = await bus.follow('--filter', 'event.type == "process.exec"');
    await runSeen(observer, mark, 'last');
    const filter = 'event.type in ["process.exec", "host.start"]';
    const history = new Observer(bus, ['--since', '1h', '--filter', filter], 'jsonpb');
    assert.equal(await history.exited, statedAsLost(history) > 0 ? 4 : 0, history.stderr);
    const begun = history.events.filter(({ type }) => type === 'host.start').map(({ time }) => Date.parse(time));
    for (const { round, fromMs, toMs } of killed)
      if (begun.some((atMs) => atMs >= fromMs && atMs <= toMs))
        for (const program of programs) if (program.round === round) program.mayLack = true;
    // Without arguments a program is known by its pid, and that one may come again, of a stranger's program too.
    const untold = new Set(programs);
    const told = history.events.flatMap(({ type, process: found }) => {
      if (type !== 'process.exec' || found?.executable?.path !== '/bin/true') return [];
      const [, first, text] = found.commandArgs ?? [];
      const ours = [...untold].find((each) =>
        found.commandArgsMissed ? each.pid === found.pid : first === mark && each.text === text,
      );
      if (ours === undefined) return first === mark ? [`once more, or never begun: ${text}`] : [];
      untold.delete(ours);
      return [found.commandArgsMissed && !ours.mayLack ? `${ours.text} without its arguments` : ours.text];
    });
    assert.ok(untold.size <= statedAsLost(history), `${untold.size} programs are not told`);
    assert.deepEqual(
      told,
      programs.flatMap((each) => (untold.has(each) ? [] : [each.text])),
    );
  } finally {
    await bus.destroy();
  }
});
