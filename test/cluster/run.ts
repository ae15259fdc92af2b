/**
 * `npm run cluster`: a cluster of plain processes on this machine, until Ctrl-C. `--host 127.0.0.2` for another address, `--dir`
 * for another directory than data/cluster, which is removed when it ends.
 */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { needsNats } from '../harness/nats/nats-package.js';
import { PlainCluster } from './plain-cluster.js';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    dir: { type: 'string', default: 'data/cluster' },
    source: { type: 'string', default: process.getuid?.() === 0 ? 'auto' : 'synthetic' },
  },
});
const stopped = new AbortController();
let cluster: PlainCluster | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (stopped.signal.aborted) {
      cluster?.kill();
      process.exit(130);
    }
    stopped.abort();
  });
}

process.exit(await main().catch(fail));

async function main(): Promise<number> {
  const missing = needsNats();
  if (missing !== false) throw new Error(missing);
  console.log('starting three nats-servers, two brokers and an agent …');
  const source = values.source === 'synthetic' ? 'synthetic' : 'auto';
  let ended: string | undefined;
  const onEnd = (what: string) => {
    ended ??= what;
    stopped.abort();
  };
  cluster = await PlainCluster.start({ dir: values.dir, host: values.host, source, onEnd });
  console.log(told(cluster, source));
  if (!stopped.signal.aborted) await once(stopped.signal, 'abort');
  if (ended !== undefined) console.error(ended);
  console.log('stopping …');
  await cluster.stop();
  return ended === undefined ? 0 : 1;
}

function told({ nats, natsVersion, brokers, https, node, config }: PlainCluster, source: string): string {
  const events = source === 'synthetic' ? 'made-up events (as root: the kernel)' : 'the kernel of this machine';
  return [
    '',
    `nats-server ${natsVersion}   ${nats.map((address) => `tls://${address}`).join(' ')}`,
    ...brokers.map((address, at) => `broker ${at + 1}            ${address} (gRPC) https://${https[at]} (HTTP)`),
    `node                ${node}: ${events}`,
    '',
    'In another terminal, in this directory:',
    `  export BACKPLANE_CONFIG=${config}`,
    '  ./backplane observe --follow                      # events, live',
    '  ./backplane status                                # of a broker, and which others it knows',
    '  ./backplane nodes',
    '  ./backplane observe --group work --follow         # and the same in a third terminal: they share the work',
    '  ./backplane groups',
    '',
    'Ctrl-C ends all of it and removes its files.',
  ].join('\n');
}

function fail(cause: unknown): number {
  console.error(cause instanceof Error ? cause.message : String(cause));
  return 1;
}
