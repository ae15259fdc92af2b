/**
 * `npm run soak -- --minutes 30 --seed N`: rounds of faults until the time is
 * over, each on a new cluster and with a seed of its own, printed before it
 * begins. `--seed N --rounds 1` repeats one; `--kinds partition,link-down` does
 * these only, `--seconds 14` makes rounds shorter. Exit code 1 at the first violation.
 */
import { parseArgs } from 'node:util';
import { cannotMount, withSmallDisk } from '../harness/cluster/small-disk.js';
import { runFaults, standardCluster } from './run.js';
import { FAULTS, LOSSLESS } from './schedule.js';

const DISK_BYTES = 64 * 1024 * 1024;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    seconds: { type: 'string', default: '180' },
    rounds: { type: 'string', default: 'Infinity' },
    kinds: { type: 'string', default: FAULTS.join(',') },
  },
});

const untilMs = performance.now() + Number(values.minutes) * 60_000;
const roundMs = Number(values.seconds) * 1000;
const rounds = Number(values.rounds);
const asked = values.kinds.split(',').map((name) => {
  const fault = FAULTS.find((known) => known === name);
  if (fault === undefined) throw new Error(`--kinds: ${name} is none of ${FAULTS.join(', ')}`);
  return fault;
});
let seed = Number(values.seed);
let failed = false;
for (let round = 0; round < rounds && performance.now() < untilMs && !failed; round += 1, seed += 1) {
  const durationMs = Math.min(roundMs, Math.max(10_000, untilMs - performance.now()));
  // Every second round nothing may be missing at all.
  const lossy = seed % 2 === 1 && cannotMount === false;
  console.log(
    `seed ${seed}: ${lossy ? 'every fault' : 'faults that lose nothing'}, ${Math.round(durationMs / 1000)} s`,
  );
  failed = lossy ? await withSmallDisk(DISK_BYTES, (dir) => fails(durationMs, dir)) : await fails(durationMs);
}
process.exit(failed ? 1 : 0);

async function fails(durationMs: number, disk?: string): Promise<boolean> {
  const cluster = await standardCluster(disk);
  try {
    const kinds = disk === undefined ? asked.filter((fault) => LOSSLESS.includes(fault)) : asked;
    const beganMs = performance.now();
    const { violations, history } = await runFaults(cluster, { seed, durationMs, kinds });
    const tookS = Math.round((performance.now() - beganMs) / 1000);
    if (violations.length > 0) console.log(`${violations.join('\n')}\n\nwhat was done:\n${history.join('\n')}`);
    else console.log(`  held after ${tookS} s: ${history.length} lines of history, ${history.slice(-9).join('; ')}`);
    return violations.length > 0;
  } finally {
    await cluster.destroy();
  }
}
