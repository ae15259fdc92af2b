/**
 * A group under kills, stops, slowness and broker kills: every event is processed at least once, none is skipped, and
 * none that was committed comes again. `npm run check` does it for a minute with eight members, 6,400 events a second come
 * meanwhile, and the account says how many a second were processed, the time included in which members catch up.
 */
import { test } from 'node:test';
import { runGroupFaults } from './group-run.js';
import { holds, SEED } from './holds.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const SHORT = {
  members: 3,
  agents: 1,
  nodesPerAgent: 6,
  eventsPerSecondAndNode: 100,
  durationMs: 1_000,
  timesMin: 1,
  pauseMs: 1_500,
  commitTimeoutMs: 1_000,
  memberTimeoutMs: 1_000,
};
const LONG = {
  members: 8,
  agents: 2,
  nodesPerAgent: 10,
  eventsPerSecondAndNode: 320,
  durationMs: 60_000,
  timesMin: 5,
  pauseMs: 3_000,
  commitTimeoutMs: 5_000,
  memberTimeoutMs: 3_000,
};

/** The log forgets within seconds what members that are slow, stopped or killed had before them. */
const FORGETFUL = { ...SHORT, durationMs: 20_000, timesMin: 3, logBytesMax: '1MiB' };

test('a group loses nothing and repeats nothing that was committed, whoever dies, hangs or is slow', async () => {
  const outcome = await runGroupFaults({ seed: SEED, ...(IS_LONG ? LONG : SHORT) });
  if (IS_LONG) console.log(outcome.history.map((line) => `# ${line}`).join('\n'));
  holds(outcome);
});

test('likewise where the log forgets before members have processed', { skip: !IS_LONG }, async () => {
  const outcome = await runGroupFaults({ seed: SEED, ...FORGETFUL });
  console.log(outcome.history.map((line) => `# ${line}`).join('\n'));
  holds(outcome);
});
