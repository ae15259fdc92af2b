/** An agent that finds its recorder's files damaged says so in one line, and records. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { MiB } from '../../../src/limits.js';
import { startAgent } from '../../../src/sensor-agent/agent.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const RATES = { bytesPerSecond: MiB, eventsPerSecond: 1_000, burstMs: 1_000 };

test('a bounds file that is a pipe is warned of once', async () => {
  const dataDir = scratchDirectory('test');
  const bounds = join(dataDir, 'recorder/bounds');
  mkdirSync(join(dataDir, 'recorder'), { mode: 0o700 });
  assert.equal(spawnSync('mkfifo', [bounds]).status, 0);
  const lines: { level: number; msg: string }[] = [];
  const agent = await startAgent({
    nodeName: 'a',
    dataDir,
    brokers: ['127.0.0.1:1'],
    credentialFor: () => undefined,
    recorder: { bytesMax: 64 * MiB, ageMsMax: 3_600_000 },
    budget: { live: RATES, history: RATES },
    live: { lingerMs: 100, lingerMsMin: 5 },
    guard: { recordingShare: Infinity, liveShare: 1, historyShare: 1, residentBytes: Infinity },
    redaction: [],
    source: {
      kind: 'synthetic',
      events: [],
      profiles: ['lite'],
      arguments: 'best',
      bufferBytesPerCpu: MiB,
      synthetic: { eventsPerSecond: 100 },
    },
    version: '0',
    log: pino({ level: 'warn' }, { write: (line) => lines.push(JSON.parse(line)) }),
  });
  await agent.stop();
  const said = lines.filter(({ msg }) => msg.startsWith('recorder: '));
  assert.deepEqual(
    said.map(({ level, msg }) => [level, msg]),
    [[40, `recorder: ${bounds} must be a readable regular file of at most 52 bytes`]],
  );
});
