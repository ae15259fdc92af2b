/**
 * 200 nodes, each of which has more to send than its share of the ceiling that their broker keeps over all of them, half
 * of them twice as much as the others: what they send together, and how evenly.
 *
 *   node dist/bench/ceiling.js [seconds]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../src/client/client.js';
import { Command } from '../test/harness/bus/bus.js';
import { bearer, credentialIn, tokenFile } from '../test/harness/bus/token.js';
import { ownAddress } from '../test/harness/own-address.js';
import { quantile, report, round } from './report.js';

const CEILING = 1024 * 1024;
/** More than this two cores cannot make beside the broker: then nodes starve, and their shares say nothing. */
const GROUPS = [
  { name: 'few', nodes: 100, rate: 40 },
  { name: 'many', nodes: 100, rate: 90 },
];
/** Until demands were reported, leases were given and the bursts at the start are spent. */
const SETTLE_MS = 45_000;
const seconds = Number(process.argv[2] ?? 30);

const dir = mkdtempSync(join(tmpdir(), 'backplane-bench-'));
const grpc = await ownAddress();
const http = await ownAddress();
const commands: Command[] = [];

interface Sample {
  readonly ms: number;
  readonly bytes: ReadonlyMap<string, number>;
}

async function sample(): Promise<Sample> {
  const { nodes } = (await (
    await fetch(`http://${http}/v1/nodes`, { headers: bearer(join(dir, 'broker')) })
  ).json()) as {
    nodes: { name: string; uplinkBytes?: string }[];
  };
  return { ms: performance.now(), bytes: new Map(nodes.map((node) => [node.name, Number(node.uplinkBytes ?? 0)])) };
}

function total({ bytes }: Sample): number {
  return [...bytes.values()].reduce((sum, each) => sum + each, 0);
}

try {
  commands.push(
    new Command(['broker'], {
      BACKPLANE_DATA_DIR: join(dir, 'broker'),
      BACKPLANE_GRPC_LISTEN: grpc,
      BACKPLANE_HTTP_LISTEN: http,
      BACKPLANE_BUDGET_CEILING: String(CEILING),
    }),
  );
  for (const { name, nodes, rate } of GROUPS) {
    commands.push(
      new Command(['agent'], {
        BACKPLANE_DATA_DIR: join(dir, name),
        BACKPLANE_BROKERS: grpc,
        BACKPLANE_TOKEN_FILE: tokenFile(join(dir, 'broker')),
        BACKPLANE_NODE_NAME: name,
        BACKPLANE_SOURCE: 'synthetic',
        // Making the events is its work here, not an overhead.
        BACKPLANE_AGENT_GUARD_CPU: '0',
        BACKPLANE_SYNTHETIC_NODES: String(nodes),
        BACKPLANE_SYNTHETIC_RATE: String(rate),
        BACKPLANE_RECORDER_BYTES: '8MiB',
      }),
    );
  }
  const wanted = GROUPS.reduce((sum, { nodes }) => sum + nodes, 0);
  for (const endMs = Date.now() + 60_000; ; await sleep(500)) {
    const connected = await sample().catch(() => undefined);
    if (connected?.bytes.size === wanted) break;
    if (Date.now() > endMs)
      throw new Error(
        `${connected?.bytes.size ?? 0} of ${wanted} nodes came: ${commands.map(({ stderr }) => stderr.slice(-500)).join()}`,
      );
  }
  const client = new Client([grpc], credentialIn(join(dir, 'broker')));
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
  client.close();
} finally {
  for (const command of commands.reverse()) await command.stop('SIGTERM');
  rmSync(dir, { recursive: true, force: true });
}
