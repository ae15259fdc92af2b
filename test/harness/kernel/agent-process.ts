/**
 * A process that records, to be killed by tests: `node agent-process.js ID`.
 * Says "ready" and waits; a line on stdin makes it drain, so that the rest is
 * left to whoever adopts its instance. Ends in order on SIGTERM.
 */
import { TracefsSource } from '../../../src/sensor-agent/source/tracefs/tracefs-source.js';
import { Recording } from './live-kernel.js';

const source = new TracefsSource({ recorderId: process.argv[2]!, arguments: 'best' });
const seen = new Recording(() => source.formats);
process.on('SIGTERM', () => process.exit(0));
await source.start(seen);
console.log('ready');
process.stdin.on('data', () => {
  while (!source.drain().empty);
  console.log(`drained ${seen.events.length}`);
});
