/** Seams of one broker, at random. */
import { test } from 'node:test';
import { Harness } from '../../harness/broker/harness.js';
import { runs } from '../../harness/runs.js';
import { crewTimes } from '../../harness/seam/crew.js';
import { play, seamSeed } from '../../harness/seam/play.js';

const RUNS = runs(12);

test('no event is missing at a seam, or comes twice, whatever comes when', async () => {
  for (let run = 0; run < RUNS; run++) {
    const harness = new Harness();
    harness.groups = crewTimes(seamSeed() + run);
    await harness.startBroker();
    try {
      await play([harness], seamSeed() + run);
    } finally {
      await harness.destroy();
    }
  }
});
