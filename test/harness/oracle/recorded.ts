/** What a stopped agent's recorders hold, read from a copy of their files. */
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Replay } from '../../../src/sensor-agent/recorder/replay.js';
import { Timeline } from '../../../src/sensor-agent/timeline/timeline.js';
import { SegmentLog } from '../../../src/storage/segment-log/segment-log.js';
import type { BusEvent } from '../../../src/wire/event/event.js';
import { type AgentParty, LANES, PID_FIRST } from '../cluster/party.js';
import { EVERYTHING } from '../recording-driver.js';

/** By the time of event 0: the last number on each lane. Before it, every number of the lane was recorded. */
export type Runs = Map<number, number[]>;

export class Recorded {
  readonly nodes = new Map<string, Runs>();

  /** Adds to earlier results, since a recorder may be damaged afterwards. */
  async read(agent: AgentParty): Promise<void> {
    for (const [node, dir] of agent.recorders) {
      if (!existsSync(dir)) continue;
      const runs = this.runs(node);
      await replayAll(dir, (event) => {
        if (event.type !== 'process.exec') return;
        const number = event.process!.pid - PID_FIRST;
        this.saw(runs, Number(event.position.timeNs) - number * agent.periodNs, number);
      });
    }
  }

  runs(node: string): Runs {
    let runs = this.nodes.get(node);
    if (runs === undefined) {
      runs = new Map();
      this.nodes.set(node, runs);
    }
    return runs;
  }

  saw(runs: Runs, start: number, number: number): void {
    let last = runs.get(start);
    if (last === undefined) {
      last = new Array<number>(LANES).fill(-1);
      runs.set(start, last);
    }
    last[number % LANES] = Math.max(last[number % LANES]!, number);
  }
}

async function replayAll(dir: string, event: (event: BusEvent) => void): Promise<void> {
  const copy = mkdtempSync(join(tmpdir(), 'backplane-fault-read-'));
  try {
    cpSync(dir, copy, { recursive: true, verbatimSymlinks: true });
    const log = SegmentLog.open({ dir: copy, bytesMax: 2 ** 40, ageMsMax: 365 * 24 * 3600 * 1000 });
    const sink = { event, loss: () => undefined, late: () => undefined };
    const replay = new Replay(log, undefined, new Timeline(EVERYTHING, sink));
    while (replay.step(Number.MAX_SAFE_INTEGER));
    replay.close();
    await log.close();
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
