/**
 * Runtimes that hang, lie, send garbage or too much: the agent goes on, and believes nothing but names. They are doubles,
 * because real ones do none of this; and Docker's is one, as it cannot be had beside containerd.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { CONTAINERS_MAX, RUNTIME_ANSWER_BYTES_MAX } from '../../../../src/limits/containers.js';
import { ContainerNames } from '../../../../src/sensor-agent/container-names.js';
import { readContainers, readImage, readPods } from '../../../../src/sensor-agent/source/containers/cri-messages.js';
import { CriRuntime } from '../../../../src/sensor-agent/source/containers/cri-runtime.js';
import { DockerRuntime } from '../../../../src/sensor-agent/source/containers/docker-runtime.js';
import { recordedContainer } from '../../../../src/sensor-agent/source/containers/runtime.js';
import { runtimePlaces } from '../../../../src/sensor-agent/source/containers/runtime-places.js';
import { Runtimes } from '../../../../src/sensor-agent/source/containers/runtimes.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { CHANGING, RecordingDriver, Told } from '../../../harness/recording-driver.js';
import { runs } from '../../../harness/runs.js';
import { until } from '../../../harness/until.js';

const ID = 'ab'.repeat(32);
const POD = 'cd'.repeat(32);
const IMAGE_ID = `sha256:${'ef'.repeat(32)}`;

/** A field of a message: its text, or its own fields. */
type Fields = Readonly<Record<number, string | Buffer | number>>;
function message(fields: Fields): Buffer {
  return Buffer.concat(
    Object.entries(fields).map(([field, value]) => {
      if (typeof value === 'number') return Buffer.concat([varint(Number(field) * 8), varint(value)]);
      const bytes = Buffer.from(value);
      return Buffer.concat([varint(Number(field) * 8 + 2), varint(bytes.length), bytes]);
    }),
  );
}
function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.from([...bytes, value]);
}

const CONTAINER = message({ 1: ID, 2: POD, 3: message({ 1: 'web' }), 4: message({ 1: IMAGE_ID }), 6: 1, 7: 2 ** 60 });
const ANSWERS: Readonly<Record<string, Buffer>> = {
  ListContainers: message({ 1: CONTAINER }),
  ListPodSandbox: message({ 1: message({ 1: POD, 2: message({ 1: 'web-1', 2: 'uid', 3: 'shop' }) }) }),
  ContainerStatus: message({ 1: message({ 8: message({ 1: 'docker.io/library/nginx:1.27' }) }) }),
};

const LOG = { info: () => undefined, warn: () => undefined, error: assert.fail };

type Answer = (method: string, done: sendUnaryData<Buffer>) => void;
const servers: Server[] = [];
let made = 0;
after(() => {
  for (const server of servers) server.forceShutdown();
});

/** A server of the interface on a socket of its own. */
async function served(answer: Answer): Promise<string> {
  const server = new Server();
  servers.push(server);
  const same = (bytes: Buffer) => bytes;
  const methods = Object.keys(ANSWERS).map((name) => [
    name,
    {
      ...{ path: `/runtime.v1.RuntimeService/${name}`, requestStream: false, responseStream: false },
      ...{ requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same },
    },
  ]);
  const handlers = Object.keys(ANSWERS).map((name) => [
    name,
    (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => answer(name, done),
  ]);
  server.addService(Object.fromEntries(methods), Object.fromEntries(handlers));
  made += 1;
  const path = join(scratchDirectory('cri'), `${made}.sock`);
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (cause) =>
      cause ? reject(cause) : resolve(),
    ),
  );
  return path;
}

const right: Answer = (method, done) => done(null, ANSWERS[method]);

const NAMED = {
  ...{ id: ID, name: 'web', image: 'docker.io/library/nginx', tag: '1.27' },
  ...{ pod: 'web-1', podUid: 'uid', namespace: 'shop' },
};
const OF_POD = { ...recordedContainer(POD, {}), pod: 'web-1', podUid: 'uid', namespace: 'shop' };

test('a container is named with its pod, and its image by the name of the id that kubelets give', async () => {
  const runtime = new CriRuntime(await served(right));
  assert.deepEqual(await runtime.find(ID), NAMED);
  assert.deepEqual(await runtime.find(POD), OF_POD);
  assert.equal(await runtime.find('0'.repeat(64)), undefined);
  assert.deepEqual(await runtime.list(), [OF_POD, NAMED]);
  runtime.close();
});

test('a container that ended amid the questions keeps its id as its image, and no other from being named', async () => {
  const gone: Answer = (method, done) =>
    method === 'ContainerStatus' ? done({ code: status.NOT_FOUND, message: 'gone' }) : right(method, done);
  const runtime = new CriRuntime(await served(gone));
  const byId = { ...NAMED, image: IMAGE_ID, tag: undefined };
  assert.deepEqual(await runtime.find(ID), byId);
  assert.deepEqual(await runtime.list(), [OF_POD, byId]);
  runtime.close();
});

test('what can be the id of no cgroup is not taken', async () => {
  const listed = Buffer.concat(
    ['x'.repeat(65), '', '../..', ID].map((id) => message({ 1: message({ 1: id, 3: message({ 1: 'web' }) }) })),
  );
  const socket = await served((method, done) => done(null, method === 'ListContainers' ? listed : Buffer.alloc(0)));
  const runtimes = new Runtimes(runtimePlaces([socket]), LOG);
  assert.equal(runtimes.look(), true);
  const { found, whole } = await runtimes.ask(undefined);
  assert.deepEqual([found.map(({ id }) => id), whole], [[ID], true]);
  runtimes.close();
});

test('garbage, an answer that is too large and one that never comes fail, each within its time', async () => {
  const wrong: Readonly<Record<string, Answer>> = {
    garbage: (_method, done) => done(null, Buffer.from('\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff')),
    'a cut answer': (method, done) => done(null, ANSWERS[method]!.subarray(0, -1)),
    'too much': (_method, done) => done(null, Buffer.alloc(RUNTIME_ANSWER_BYTES_MAX + 1)),
    silence: () => undefined,
    refusal: (_method, done) => done({ code: status.INTERNAL, message: 'no' }),
  };
  await Promise.all(
    Object.entries(wrong).map(async ([what, answer]) => {
      const runtime = new CriRuntime(await served(answer));
      await Promise.all([assert.rejects(runtime.find(ID), what), assert.rejects(runtime.list(), what)]);
      runtime.close();
    }),
  );
});

test('whatever bytes come are read as names or refused', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.constantFrom(...Object.values(ANSWERS)),
      fc.nat(64),
      (noise, answer, at) => {
        const bytes = Buffer.concat([answer.subarray(0, at), noise, answer.subarray(at)]);
        for (const read of [readContainers, readPods, readImage])
          try {
            read(bytes);
          } catch (cause) {
            assert.equal((cause as { code?: string }).code, 'invalid_argument');
          }
      },
    ),
    { numRuns: runs(500) },
  );
});

test('names are cut to their bounds, and a reference to name and tag', () => {
  const long = recordedContainer(ID, {
    name: 'n'.repeat(5_000),
    pod: '',
    image: `${'i'.repeat(5_000)}:${'t'.repeat(500)}`,
  });
  assert.deepEqual([long.name?.length, long.pod, long.image?.length, long.tag?.length], [256, undefined, 512, 128]);
  const parts = (image: string) => {
    const { image: name, tag } = recordedContainer(ID, { image });
    return [name, tag];
  };
  assert.deepEqual(parts('registry:5000/a/b'), ['registry:5000/a/b', undefined]);
  assert.deepEqual(parts('registry:5000/a/b:1.2@sha256:00'), ['registry:5000/a/b', '1.2']);
  assert.deepEqual(parts(IMAGE_ID), [IMAGE_ID, undefined]);
});

/** An agent's recorder that reads of a process in a container, and of one of the host behind it. */
function recorded() {
  const told = new Told();
  const driver = new RecordingDriver(scratchDirectory('names'), told, undefined, undefined, CHANGING);
  const entry = (pid: number) => ({
    lane: 0,
    afterNs: 900n as const,
    pid,
    what: 'exit' as const,
    read: 'never' as const,
  });
  const step = { entries: [], lost: 0 as const, crash: false, wallStepNs: 0n as const };
  return {
    told,
    recorder: driver.recorder,
    happens: (id = ID) => {
      const of = { pid: 2, cgroup: `/docker/${id}`, containerId: id };
      driver.recorder.snapshot([of]);
      driver.step({ ...step, entries: [entry(2), entry(5)] });
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
  const names = await ContainerNames.start(recorder, runtimePlaces([`unix://${socket}`]), LOG);
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
    const names = await ContainerNames.start(recorder, runtimePlaces([await served(answer)]), LOG);
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
  const names = await ContainerNames.start(recorder, runtimePlaces([await served(() => undefined)]), LOG);
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

test('where nothing speaks, or what speaks names no containers, ids stand alone', async () => {
  const unimplemented: Answer = (_method, done) => done({ code: status.UNIMPLEMENTED, message: 'unknown service' });
  for (const places of [[], runtimePlaces(['/nowhere/c.sock']), runtimePlaces([await served(unimplemented)])]) {
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

test('Docker is asked by HTTP', async () => {
  const listed = [
    { Id: ID, Names: ['/web'], Image: 'nginx:1.27', Labels: null },
    {
      ...{ Id: POD, Names: ['/k8s_web_web-1'], Image: 'nginx', Labels: { 'io.kubernetes.pod.name': 'web-1' } },
      ...{ State: 'running', Mounts: [{ Type: 'bind' }] },
    },
  ];
  const socket = join(scratchDirectory('docker'), 'docker.sock');
  let body = JSON.stringify(listed);
  const server = createServer((_request, response) => response.end(body)).listen(socket);
  const [place] = runtimePlaces([socket]);
  assert.equal(place?.kind, 'docker');
  const runtime = new DockerRuntime(socket);
  const absent = { podUid: undefined, namespace: undefined };
  const named = { id: ID, name: 'web', image: 'nginx', tag: '1.27', pod: undefined, ...absent };
  assert.deepEqual(await runtime.list(), [
    named,
    { id: POD, name: 'k8s_web_web-1', image: 'nginx', tag: undefined, pod: 'web-1', ...absent },
  ]);
  assert.deepEqual(await runtime.find(ID), named);
  assert.equal(await runtime.find('0'.repeat(64)), undefined);
  for (const wrong of ['{}', '[{"Id": 7}]', 'no JSON', '['.repeat(100_000)]) {
    body = wrong;
    await assert.rejects(runtime.list(), wrong.slice(0, 10));
  }
  runtime.close();
  server.close();
});
