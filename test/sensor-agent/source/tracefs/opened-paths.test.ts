/** Files that a program opens as fast as it can, by one descriptor after the other has been closed. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Recorder } from '../../../../src/sensor-agent/recorder/recorder.js';
import { Redactor } from '../../../../src/sensor-agent/redaction/redactor.js';
import { profileEvents } from '../../../../src/sensor-agent/source/tracefs/profile-events.js';
import { TracefsSource } from '../../../../src/sensor-agent/source/tracefs/tracefs-source.js';
import type { BusEvent } from '../../../../src/wire/event/event.js';
import { comparePositions } from '../../../../src/wire/position.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { firstLine } from '../../../harness/first-line.js';
import { liveTracefs } from '../../../harness/kernel/live-kernel.js';
import { EVERYTHING, ORIGIN } from '../../../harness/recording-driver.js';
import { until } from '../../../harness/until.js';

const live = liveTracefs();
const perl = spawnSync('perl', ['-e', '1']).status === 0;
const FILES = 64;
const OPENS = 10_000;
/** So that no other file has the descriptor. */
const HELD = 16;
const PROGRAM = `
my $n = shift;
my @others = map { open(my $f, '<', '/dev/null') or die; $f } 1 .. ${HELD};
for my $at (0 .. $n - 1) { open(my $f, '<', 'f' . $at % ${FILES}) or die; close $f; }
syswrite STDOUT, "done\\n";
`;

test('of a descriptor that is returned again and again no path is told, or the one that was opened', {
  skip: live.skip || (perl ? false : 'needs perl'),
}, async (t) => {
  const dir = scratchDirectory('opened');
  for (let at = 0; at < FILES; at += 1) writeFileSync(join(dir, `f${at}`), '');
  const storage = { dir: join(dir, 'recorder'), bytesMax: 256 << 20, ageMsMax: 1e12 };
  const recorder = new Recorder({ ...storage, redactor: new Redactor([]) }, EVERYTHING);
  const opens: BusEvent[] = [];
  let [pid, losses] = [0, 0];
  const event = (told: BusEvent) => told.type === 'file.open' && told.process?.pid === pid && opens.push(told);
  recorder.tellTo({ event, late: event, loss: () => losses++ });
  const events = profileEvents('file').filter((event) => /\/sys_(?:enter|exit)_open/.test(event));
  const source = new TracefsSource({ recorderId: `test-${process.pid}-opened`, arguments: 'none', onDemand: events });
  let draining: NodeJS.Timeout | undefined;
  t.after(() => {
    clearInterval(draining);
    return source.stop();
  });
  const sink = { exec: () => undefined, settle: () => undefined, queries: () => undefined, note: () => undefined };
  await source.start({
    ...sink,
    page: (page) => recorder.page(page),
    horizon: (ns, readOn) => recorder.horizon(ns, readOn),
  });
  // This process is nobody's agent: what it starts would be of the agent, whose files are not looked up.
  recorder.begin({ ...ORIGIN, continued: false, formats: source.formats.texts(), selfPids: [] }, source.clock());
  for (const event of source.onDemand!.events) source.onDemand!.switch(event, true);
  const child = spawn('perl', ['-e', PROGRAM, String(OPENS)], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  pid = child.pid!;
  draining = setInterval(() => {
    source.drain();
    // Nobody reads the arguments of programs.
    recorder.expire(source.clock().bootNs);
  }, 1);
  await firstLine(child.stdout);
  const { bootNs } = source.clock();
  const toldNs = () => recorder.timeline.frontier.timeNs;
  await until('all of them', () => toldNs() > bootNs, toldNs);
  assert.equal(losses, 0);
  // On a crowded machine some may come after their turn.
  opens.sort((a, b) => comparePositions(a.position, b.position));
  const descriptor = Math.max(...opens.map(({ file }) => file!.descriptor));
  const inLoop = opens.filter(({ file }) => file!.descriptor === descriptor).map(({ file }) => file!.path);
  assert.equal(inLoop.length, OPENS);
  const wrong = inLoop.flatMap((path, at) => {
    const name = `f${at % FILES}`;
    return path === '' || path === name || path === join(dir, name) ? [] : [`${name} told as ${path}`];
  });
  assert.deepEqual(wrong, []);
});
