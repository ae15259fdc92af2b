/**
 * Follows programs that start, and goes on where it ended the time before.
 *
 *   BACKPLANE_TOKEN=$(cat data/token) node feed.js [SECONDS]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'backplane/client';

const { BACKPLANE_BROKERS = '127.0.0.1:8484', BACKPLANE_TOKEN, CURSOR_FILE = 'feed.cursor' } = process.env;
const seconds = Number(process.argv[2] ?? 60);

await using bus = await connect({ brokers: BACKPLANE_BROKERS.split(','), token: BACKPLANE_TOKEN });
const cursor = savedCursor();
const feed = bus.subscribe({
  topics: ['process'],
  filter: 'event.type == "process.exec"',
  follow: true,
  // A cursor says where to begin; the first time it is five minutes ago.
  ...(cursor === '' ? { since: '5m' } : { cursor }),
  signal: AbortSignal.timeout(seconds * 1000),
});
for await (const item of feed) {
  switch (item.kind) {
    case 'event':
      if (item.event.type === 'process.exec') {
        const { pid, commandArgs } = item.event.process;
        console.log(`${item.node} ${pid} ${commandArgs.join(' ')}`);
      }
      break;
    case 'gap':
      console.warn(`missing: ${item.gap.events} events of ${item.gap.node} (${item.gap.reason})`);
      break;
    case 'link':
      console.warn(item.cause ? `${item.broker} is gone: ${item.cause.message}` : `goes on at ${item.broker}`);
      break;
  }
}
writeFileSync(CURSOR_FILE, feed.cursor);

function savedCursor(): string {
  try {
    return readFileSync(CURSOR_FILE, 'utf8');
  } catch {
    return '';
  }
}
