/** What an agent had read from the kernel when it was killed, and had not recorded, is a gap with its exact number. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Bus, cannotTrace, type GapLine, Observer } from '../../../harness/bus/bus.js';
import { runSeen } from '../../../harness/bus/program.js';
import { entriesRead, lanesOf } from '../../../harness/kernel/agent-instances.js';

/** More than a page has room for. */
const PROGRAMS = 300;

/** Of the instance that events come from. */
const EVENTS = /^backplane-[0-9a-f]+$/;

/** As the agent had done in its last moment: the kernel does not know who read. */
function readPage(lane: string): void {
  const fd = openSync(join(lane, 'trace_pipe_raw'), constants.O_RDONLY | constants.O_NONBLOCK);
  readSync(fd, Buffer.alloc(65_536));
  closeSync(fd);
}

test('what a killed agent had read and not recorded is told, live and of the past, and no second time', {
  skip: cannotTrace,
}, async () => {
  const bus = await Bus.start();
  const mark = randomBytes(8).toString('hex');
  const takePages = () => {
    for (let run = 0; run < PROGRAMS; run++) spawnSync('/bin/true', [mark, String(run)]);
    let taken = 0;
    for (const lane of lanesOf(bus.dataDir, EVENTS)) {
      const before = entriesRead(lane);
      readPage(lane);
      taken += entriesRead(lane) - before;
    }
    assert.ok(taken > 0);
    return taken;
  };
  try {
    const live = await bus.follow('--topic', 'process', '--topic', 'host');
    await runSeen(live, mark, 'before');
    // What others take while an agent is there is told as something else.
    const agentPid = await bus.agentPid();
    process.kill(agentPid, 'SIGSTOP');
    takePages();
    process.kill(agentPid, 'SIGCONT');
    await live.sees(({ notice }) => notice?.reason === 'trace_changed');
    await bus.kill();
    const lost = takePages();
    for (const when of ['after', 'last']) {
      await bus.start();
      await runSeen(live, mark, when);
      await live.sees(({ notice }) => notice?.reason === 'agent_killed');
      await bus.kill();
    }
    await bus.start();
    const stated = ({ reason, events, eventsUnknown = false }: GapLine) => ({ reason, events, eventsUnknown });
    const loss = { reason: 'agent_killed', events: String(lost), eventsUnknown: false };
    const changed = { reason: 'trace_changed', events: '0', eventsUnknown: true };
    // Who resumes with a cursor from before a gap is told it again, the same: the broker is killed at once.
    const gaps = [...new Set(live.gaps.map((gap) => JSON.stringify(gap)))].map((text) => JSON.parse(text) as GapLine);
    assert.deepEqual(gaps.map(stated), [changed, loss]);
    const notices = live.events.filter(({ notice }) => notice?.reason === 'agent_killed');
    assert.deepEqual(
      notices.map(({ notice }) => Number(notice!.lost)),
      [lost],
    );
    await bus.follow('--topic', 'host');
    const past = new Observer(bus, ['--topic', 'process', '--since', '1h'], 'jsonpb');
    assert.equal(await past.exited, 4, past.stderr);
    assert.deepEqual(past.coverage?.nodes[0]?.losses?.map(stated), [changed, loss]);
  } finally {
    await bus.destroy();
  }
});
