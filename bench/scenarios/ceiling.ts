/**
 * 200 nodes, each of which has more to send than its share of the ceiling that their broker keeps over all of them, half
 * of them twice as much as the others: what they send together, and how evenly.
 *
 *   node dist/bench/scenarios/ceiling.js [seconds]
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet, SYNTHETIC } from '../measuring/fleet.js';
import { quantile, report, round } from '../measuring/report.js';

const CEILING = 1024 * 1024;
/** More than this two cores cannot make beside the broker: then nodes starve, and their shares say nothing. */
const GROUPS = [
  { name: 'few', nodes: 100, rate: 40 },
  { name: 'many', nodes: 100, rate: 90 },
];
/** Until demands were reported, leases were given and the bursts at the start are spent. */
const SETTLE_MS = 45_000;
const seconds = Number(process.argv[2] ?? 30);

const fleet = await Fleet.start({ BACKPLANE_BUDGET_CEILING: String(CEILING) });

interface Sample {
  readonly ms: number;
  readonly bytes: ReadonlyMap<string, number>;
}

async function sample(): Promise<Sample> {
  const { nodes } = (await fleet.get('/v1/nodes')) as { nodes: { name: string; uplinkBytes?: string }[] };
  return { ms: performance.now(), bytes: new Map(nodes.map((node) => [node.name, Number(node.uplinkBytes ?? 0)])) };
}

function total({ bytes }: Sample): number {
  return [...bytes.values()].reduce((sum, each) => sum + each, 0);
}

try {
  for (const { name, nodes, rate } of GROUPS) {
    fleet.agent(name, {
      ...SYNTHETIC,
      BACKPLANE_NODE_NAME: name,
      BACKPLANE_SYNTHETIC_NODES: String(nodes),
      BACKPLANE_SYNTHETIC_RATE: String(rate),
      BACKPLANE_RECORDER_BYTES: '8MiB',
    });
  }
  const wanted = GROUPS.reduce((sum, { nodes }) => sum + nodes, 0);
  for (const endMs = Date.now() + 60_000; ; await sleep(500)) {
    const connected = await sample().catch(() => undefined);
    if (connected?.bytes.size === wanted) break;
    if (Date.now() > endMs)
      throw new Error(
        `${connected?.bytes.size ?? 0} of ${wanted} nodes came: ${fleet.commands.map(({ stderr }) => stderr.slice(-500)).join()}`,
      );
  }
  const client = fleet.client();
  const stop = new AbortController();
  let delivered = 0;
  let shed = 0;
  const reading = (async () => {
    for await (const item of client.subscribe({ follow: true }, stop.signal)) {
      if (item.kind === 'events') delivered += item.batch.events.length;
      else if (item.kind === 'gap' && item.gap.reason === 'shed') shed += Number(item.gap.events);
    }
  })().catch(() => undefined);
  await sleep(SETTLE_MS);
  const samples = [await sample()];
  const [deliveredBefore, shedBefore] = [delivered, shed];
  for (let second = 0; second < seconds; second += 1) {
    await sleep(1_000);
    samples.push(await sample());
  }
  const [first, last] = [samples[0]!, samples.at(-1)!];
  const rate = (total(last) - total(first)) / ((last.ms - first.ms) / 1000);
  const perSecond = samples.slice(1).map((each, i) => {
    const before = samples[i]!;
    return (total(each) - total(before)) / ((each.ms - before.ms) / 1000);
  });
  const shares = [...last.bytes].map(([node, bytes]) => bytes - (first.bytes.get(node) ?? 0));
  const sum = shares.reduce((a, b) => a + b, 0);
  const jain = sum ** 2 / (shares.length * shares.reduce((a, b) => a + b * b, 0));
  report('200 nodes past the ceiling', [
    { what: 'sent together, % of the ceiling', value: round((100 * rate) / CEILING, 1), target: '<= 102' },
    {
      what: 'the most in one second, % of the ceiling',
      value: round((100 * quantile(perSecond, 1)) / CEILING, 1),
      target: '',
    },
    { what: 'Jain fairness of the nodes', value: round(jain, 4), target: '>= 0.98' },
    {
      what: 'events delivered, of those that matched, %',
      value: round((100 * (delivered - deliveredBefore)) / (delivered - deliveredBefore + shed - shedBefore), 1),
      target: '',
    },
  ]);
  stop.abort();
  await reading;
} finally {
  await fleet.destroy();
}
