/**
 * Who containers are, asked beside the recording, of runtimes that answer, hang, refuse or are not there: events wait for a
 * bounded time and go on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type sendUnaryData, status } from '@grpc/grpc-js';
import { CONTAINERS_MAX } from '../../src/limits/containers.js';
import { ContainerNames } from '../../src/sensor-agent/container-names.js';
import { ANSWERS, type Answer, type Call, ID, POD, placesOf, right, served } from '../harness/containers/cri-double.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { CHANGING, RecordingDriver, Told } from '../harness/recording-driver.js';
import { until } from '../harness/until.js';

const LOG = { info: () => undefined, warn: () => undefined, error: assert.fail };

/** An agent's recorder that reads of a process in a container, and of one of the host behind it. */
function recorded() {
  const told = new Told();
  const driver = new RecordingDriver(scratchDirectory('names'), told, undefined, undefined, CHANGING);
  const entry = (pid: number, what: 'exit' | 'move') => ({
    lane: 0,
    afterNs: 900n as const,
    pid,
    what,
    read: 'never' as const,
  });
  const step = { entries: [], lost: 0 as const, crash: false, wallStepNs: 0n as const };
  return {
    told,
    recorder: driver.recorder,
    /** Processes end, of which `pid` is in the container `id`; then `moved` goes into ID. */
    happens: (id = ID, pid = 2, ends = [2, 5], moved: readonly number[] = []) => {
      driver.recorder.snapshot([{ pid, cgroup: `/docker/${id}`, containerId: id }]);
      const entries = [...ends.map((each) => entry(each, 'exit')), ...moved.map((each) => entry(each, 'move'))];
      driver.step({ ...step, entries });
    },
  };
}

test('an event waits for the names of its container, and everything behind it', async () => {
  const { told, recorder, happens } = recorded();
  const answers: sendUnaryData<Buffer>[] = [];
  let holds = false;
  const socket = await served((method, done) => {
    if (!holds) done(null, Buffer.alloc(0));
    else if (method === 'ListContainers') answers.push(done);
    else right(method, done);
  });
  const names = await ContainerNames.start(recorder, placesOf([`unix://${socket}`]), LOG);
  assert.equal(recorder.timeline.containersKnown.asked, true);
  holds = true;
  happens();
  names.step(performance.now());
  assert.equal(told.events.length, 0);
  assert.equal(recorder.timeline.waitingContainer?.id, ID);
  await until('a question', () => answers.length > 0);
  answers[0]!(null, ANSWERS['ListContainers']);
  await until('both events', () => told.events.length === 2);
  // Where this took too long, it was told without.
  if (!told.events[0]!.includes('unresolved')) assert.match(told.events[0]!, /"name":"web".*"podName":"web-1"/);
  names.stop();
});

for (const [what, answer] of [
  ['hangs', () => undefined],
  ['does not know it', (_method: string, done: sendUnaryData<Buffer>) => done(null, Buffer.alloc(0))],
  ['refuses', (_method: string, done: sendUnaryData<Buffer>) => done({ code: status.INTERNAL, message: 'no' })],
] as const) {
  test(`where the runtime ${what}, events go on without names, and say so`, async () => {
    const { told, recorder, happens } = recorded();
    const names = await ContainerNames.start(recorder, placesOf([await served(answer)]), LOG);
    happens();
    names.step(performance.now());
    assert.equal(told.events.length, 0);
    await until('both events', () => told.events.length === 2);
    assert.match(told.events[0]!, new RegExp(`"container":{"id":"${ID}","unresolved":true}`));
    assert.doesNotMatch(told.events[1]!, /container/);
    names.stop();
  });
}

test('what had to make room is waited for anew; what nobody names holds up the rest only for so long in all', async () => {
  const { told, recorder, happens } = recorded();
  const names = await ContainerNames.start(recorder, placesOf([await served(() => undefined)]), LOG);
  const tells = async (id: string) => {
    const before = told.events.length;
    happens(id);
    names.step(performance.now());
    const waits = told.events.length === before;
    await until('its events', () => told.events.length >= before + 2);
    return waits;
  };
  assert.equal(await tells(ID), true);
  const other = (n: number) => String(n).padStart(64, 'f');
  const others = Array.from({ length: CONTAINERS_MAX + 1 }, (_, n) => ({ id: other(n) }));
  recorder.containers(others, true);
  recorder.containers([], true);
  assert.equal(await tells(ID), true);
  let waited = 0;
  while (waited < 50 && (await tells(other(-1 - waited).replace('-', 'e')))) waited += 1;
  assert.ok(waited < 50);
  names.stop();
});

test('one that is waited for does not keep those behind it waiting for longer', async () => {
  const { told, recorder, happens } = recorded();
  const names = await ContainerNames.start(recorder, placesOf([await served(() => undefined)]), LOG);
  recorder.containers([{ id: ID }, { id: POD }], true);
  // Known as their processes are read, and forgotten before their events come.
  happens(ID, 2, []);
  happens(POD, 5, []);
  const others = Array.from({ length: CONTAINERS_MAX + 1 }, (_, n) => ({ id: String(n).padStart(64, 'f') }));
  recorder.containers(others, true);
  recorder.containers([], true);
  happens(undefined, 9);
  await until('an event', () => {
    names.step(performance.now());
    return told.events.length > 0;
  });
  assert.equal(told.events.length, 2);
  for (const event of told.events) assert.match(event, /"unresolved":true/);
  names.stop();
});

test('a question that hangs does not keep the next from being asked', async () => {
  const { recorder, happens } = recorded();
  let holds = false;
  const held: Call[] = [];
  const socket = await served((_method, done, call) => (holds ? held.push(call) : done(null, Buffer.alloc(0))));
  const names = await ContainerNames.start(recorder, placesOf([socket]), LOG);
  holds = true;
  for (const [at, id] of [POD, ID].entries()) {
    happens(id, 2 + at, [2 + at]);
    names.step(performance.now());
    await until('a question', () => held.length > at);
  }
  assert.equal(held[0]!.cancelled, false);
  assert.ok(held[1]!.request.includes(ID));
  names.stop();
});

test('a container is asked about when a process is moved into it, also behind an event that waits', () => {
  const { told, recorder, happens } = recorded();
  recorder.timeline.containersKnown.noteUnknown();
  recorder.containers([], true);
  happens(POD, 2, [2], [5]);
  assert.equal(told.events.length, 0);
  assert.deepEqual(recorder.timeline.containersKnown.takeUnknown(), [POD, ID]);
});

test('where nothing speaks, or what speaks names no containers, ids stand alone', async () => {
  const unimplemented: Answer = (_method, done) => done({ code: status.UNIMPLEMENTED, message: 'unknown service' });
  for (const places of [[], placesOf(['/nowhere/c.sock']), placesOf([await served(unimplemented)])]) {
    const { told, recorder, happens } = recorded();
    // An agent before this one had a runtime.
    recorder.containers([], true);
    const names = await ContainerNames.start(recorder, places, LOG);
    happens();
    names.step(performance.now());
    assert.equal(told.events.length, 2);
    assert.match(told.events[0]!, new RegExp(`"container":{"id":"${ID}"}`));
    names.stop();
  }
});
