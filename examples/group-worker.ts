/**
 * A member of a group: the members share the nodes, and what one of them has processed and committed no other gets again.
 * Start it as often as there is work for.
 *
 *   BACKPLANE_TOKEN=$(cat data/token) node group-worker.js GROUP [SECONDS]
 */
import { BackplaneError, connect } from 'backplane/client';

const { BACKPLANE_BROKERS = '127.0.0.1:8484', BACKPLANE_TOKEN } = process.env;
const [, , name = 'workers', seconds = '3600'] = process.argv;

await using bus = await connect({ brokers: BACKPLANE_BROKERS.split(','), token: BACKPLANE_TOKEN });
const group = bus.group(name);
const subscription = { topics: ['process'], signal: AbortSignal.timeout(Number(seconds) * 1000) };
for await (const batch of group.batches(subscription)) {
  for (const gap of batch.gaps) console.warn(`missing: ${gap.events} events of ${gap.node} (${gap.reason})`);
  await processed(batch.node, batch.events.length);
  try {
    await batch.commit();
  } catch (thrown) {
    // Another member has these nodes by now, and does it again: what is done must bear being done twice.
    if (!(thrown instanceof BackplaneError && thrown.code === 'fenced')) throw thrown;
  }
}

/** Here goes the work. */
async function processed(node: string, events: number): Promise<void> {
  console.log(`${events} events of ${node}`);
}
