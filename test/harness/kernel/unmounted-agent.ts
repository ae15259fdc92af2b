/**
 * Records while tracefs is unmounted under it, in a mount namespace of its own:
 * `unshare --mount node unmounted-agent.js ID`. Prints what it found.
 */
import { spawnSync } from 'node:child_process';
import { openTracefs } from '../../../src/sensor-agent/source/tracefs/mount.js';
import { TracefsSource } from '../../../src/sensor-agent/source/tracefs/tracefs-source.js';
import { Recording } from './live-kernel.js';

const { path } = openTracefs();
const source = new TracefsSource({ recorderId: process.argv[2]!, arguments: 'none' });
const seen = new Recording(() => source.formats);
await source.start(seen);
source.look(10_000);
spawnSync('umount', ['--lazy', path]);
const found = source.look(20_000);
while (!source.drain().empty);
const before = seen.named('sched_process_exec').length;
spawnSync('true');
while (!source.drain().empty);
const again = seen.named('sched_process_exec').length > before;
console.log(JSON.stringify({ found: found.map((each) => ({ ...each, fromNs: String(each.fromNs) })), again }));
await source.stop();
process.exit(0);
