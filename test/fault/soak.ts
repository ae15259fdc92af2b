/**
 * `npm run soak -- --minutes 30 --seed N`: rounds of faults until the time is
 * over, each on a new cluster and with a seed of its own, printed before it
 * begins. `--cluster`: of brokers on NATS. `--seed N --rounds 1` repeats one;
 * `--kinds partition,link-down` does these only, `--seconds 14` makes rounds
 * shorter, `--nats floor` takes the oldest nats-server that brokers accept,
 * `--tell` prints all that was done, `--keep DIR` keeps what the processes of
 * the last round said. Exit code 1 at the first violation.
 */
import { parseArgs } from 'node:util';
import { keepOutputIn } from '../harness/cluster/kept-output.js';
import { cannotMount, withSmallDisk } from '../harness/cluster/small-disk.js';
import { CLUSTER_FAULTS, LOSSLESS_OF_CLUSTER } from './nats/cluster-faults.js';
import { cannotCluster, runClusterFaults, standardNatsCluster } from './nats/cluster-run.js';
import { type Outcome, type Run, runFaults, standardCluster } from './run.js';
import { FAULTS, LOSSLESS } from './schedule.js';

const DISK_BYTES = 64 * 1024 * 1024;

/** One form of the system. */
interface Soaked<Name extends string> {
  readonly faults: readonly Name[];
  readonly lossless: readonly Name[];
  readonly run: (run: Run<Name>, lossy: boolean) => Promise<Outcome>;
}

const ONE_BROKER: Soaked<(typeof FAULTS)[number]> = {
  faults: FAULTS,
  lossless: LOSSLESS,
  run: (run, lossy) =>
    lossy
      ? withSmallDisk(DISK_BYTES, async (disk) => destroying(await standardCluster(disk), run, runFaults))
      : standardCluster().then((cluster) => destroying(cluster, run, runFaults)),
};

const ON_NATS: Soaked<(typeof CLUSTER_FAULTS)[number]> = {
  faults: CLUSTER_FAULTS,
  lossless: LOSSLESS_OF_CLUSTER,
  run: async (run) => destroying(await standardNatsCluster(version), run, runClusterFaults),
};

const { values } = parseArgs({
  options: {
    cluster: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    seconds: { type: 'string', default: '180' },
    rounds: { type: 'string', default: 'Infinity' },
    kinds: { type: 'string' },
    nats: { type: 'string', default: 'newest' },
    tell: { type: 'boolean', default: false },
    keep: { type: 'string' },
  },
});

const version = values.nats === 'floor' ? 'floor' : 'newest';
const cannot = values.cluster && cannotCluster(version);
if (cannot !== false) {
  console.log(`no cluster: ${cannot}`);
  process.exit(0);
}
process.exit((await (values.cluster ? soak(ON_NATS) : soak(ONE_BROKER))) ? 1 : 0);

/** Returns whether something was violated. */
async function soak<Name extends string>({ faults, lossless, run }: Soaked<Name>): Promise<boolean> {
  const untilMs = performance.now() + Number(values.minutes) * 60_000;
  const roundMs = Number(values.seconds) * 1000;
  const asked = (values.kinds?.split(',') ?? faults).map((name) => {
    const fault = faults.find((known) => known === name);
    if (fault === undefined) throw new Error(`--kinds: ${name} is none of ${faults.join(', ')}`);
    return fault;
  });
  let seed = Number(values.seed);
  for (let round = 0; round < Number(values.rounds) && performance.now() < untilMs; round += 1, seed += 1) {
    const durationMs = Math.min(roundMs, Math.max(10_000, untilMs - performance.now()));
    // Every second round nothing may be missing at all.
    const lossy = seed % 2 === 1 && cannotMount === false;
    const what = lossy ? 'every fault' : 'faults that lose nothing';
    console.log(`seed ${seed}: ${what}, ${Math.round(durationMs / 1000)} s`);
    const kinds = lossy ? asked : asked.filter((fault) => lossless.includes(fault));
    if (values.keep !== undefined) keepOutputIn(values.keep);
    const beganMs = performance.now();
    const { violations, history } = await run({ seed, durationMs, kinds }, lossy);
    const tookS = Math.round((performance.now() - beganMs) / 1000);
    if (violations.length > 0) {
      console.log(`${violations.join('\n')}\n\nwhat was done:\n${history.join('\n')}`);
      return true;
    }
    const told = values.tell ? history.join('\n') : history.slice(-9).join('; ');
    console.log(`  held after ${tookS} s: ${history.length} lines of history, ${told}`);
  }
  return false;
}

async function destroying<C extends { destroy(): Promise<void> }, R>(
  cluster: C,
  run: R,
  faults: (cluster: C, run: R) => Promise<Outcome>,
): Promise<Outcome> {
  try {
    return await faults(cluster, run);
  } finally {
    await cluster.destroy();
  }
}
