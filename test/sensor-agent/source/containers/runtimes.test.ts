/**
 * Runtimes that hang, lie, send garbage or too much: the agent goes on, and believes nothing but names. They are doubles,
 * because real ones do none of this; and Docker's is one, as it cannot be had beside containerd.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { RUNTIME_ANSWER_BYTES_MAX } from '../../../../src/limits/containers.js';
import { readContainers, readImage, readPods } from '../../../../src/sensor-agent/source/containers/cri-messages.js';
import { CriRuntime } from '../../../../src/sensor-agent/source/containers/cri-runtime.js';
import { DockerRuntime } from '../../../../src/sensor-agent/source/containers/docker-runtime.js';
import { recordedContainer } from '../../../../src/sensor-agent/source/containers/runtime.js';
import { Runtimes } from '../../../../src/sensor-agent/source/containers/runtimes.js';
import {
  ANSWERS,
  type Answer,
  ID,
  IMAGE_ID,
  message,
  POD,
  placesOf,
  right,
  served,
} from '../../../harness/containers/cri-double.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { runs } from '../../../harness/runs.js';

const LOG = { info: () => undefined, warn: () => undefined, error: assert.fail };

const NAMED = {
  ...{ id: ID, name: 'web', image: 'docker.io/library/nginx', tag: '1.27' },
  ...{ pod: 'web-1', podUid: 'uid', namespace: 'shop' },
};
const OF_POD = { ...recordedContainer(POD, {}), pod: 'web-1', podUid: 'uid', namespace: 'shop' };

test('a container is named with its pod, and its image by the name of the id that kubelets give', async () => {
  const runtime = new CriRuntime(await served(right));
  assert.deepEqual(await runtime.find([ID]), [NAMED]);
  assert.deepEqual(await runtime.find([POD]), [OF_POD]);
  assert.deepEqual(await runtime.find(['0'.repeat(64)]), []);
  assert.deepEqual(await runtime.list(), [OF_POD, NAMED]);
  runtime.close();
});

test('many are found by one question, those that have ended among them, and a pod is asked for once', async () => {
  const ended = message({
    1: ID,
    2: POD,
    3: message({ 1: 'web' }),
    4: message({ 1: 'docker.io/library/nginx:1.27' }),
    6: 2,
  });
  const questions: string[] = [];
  const answer: Answer = (method, done) => {
    questions.push(method);
    done(null, method === 'ListContainers' ? message({ 1: ended }) : ANSWERS[method]);
  };
  const runtime = new CriRuntime(await served(answer));
  const others = Array.from({ length: 50 }, (_, at) => String(at).padStart(64, '0'));
  assert.deepEqual(await runtime.find([...others, ID]), [NAMED]);
  assert.deepEqual(questions.splice(0), ['ListContainers', 'ListPodSandbox']);
  assert.deepEqual(await runtime.find([ID]), [NAMED]);
  assert.deepEqual(questions, ['ListContainers']);
  assert.deepEqual(await runtime.list(), [OF_POD]);
  runtime.close();
});

test('a runtime of before containerd 1.6 is asked by the version that it has', async () => {
  const runtime = new CriRuntime(await served(right, 'v1alpha2'));
  assert.deepEqual(await Promise.all([runtime.find([ID]), runtime.list()]), [[NAMED], [OF_POD, NAMED]]);
  runtime.close();
});

test('a container that ended amid the questions keeps its id as its image, and no other from being named', async () => {
  const gone: Answer = (method, done) =>
    method === 'ContainerStatus' ? done({ code: status.NOT_FOUND, message: 'gone' }) : right(method, done);
  const runtime = new CriRuntime(await served(gone));
  const byId = { ...NAMED, image: IMAGE_ID, tag: undefined };
  assert.deepEqual(await runtime.find([ID]), [byId]);
  assert.deepEqual(await runtime.list(), [OF_POD, byId]);
  runtime.close();
});

test('what can be the id of no cgroup is not taken', async () => {
  const listed = Buffer.concat(
    ['x'.repeat(65), '', '../..', ID].map((id) => message({ 1: message({ 1: id, 3: message({ 1: 'web' }) }) })),
  );
  const socket = await served((method, done) => done(null, method === 'ListContainers' ? listed : Buffer.alloc(0)));
  const runtimes = new Runtimes(placesOf([socket]), LOG);
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
      await Promise.all([assert.rejects(runtime.find([ID]), what), assert.rejects(runtime.list(), what)]);
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
  const [place] = placesOf([socket]);
  assert.equal(place?.kind, 'docker');
  const runtime = new DockerRuntime(socket);
  const absent = { podUid: undefined, namespace: undefined };
  const named = { id: ID, name: 'web', image: 'nginx', tag: '1.27', pod: undefined, ...absent };
  assert.deepEqual(await runtime.list(), [
    named,
    { id: POD, name: 'k8s_web_web-1', image: 'nginx', tag: undefined, pod: 'web-1', ...absent },
  ]);
  assert.deepEqual(await runtime.find([ID]), [named]);
  assert.deepEqual(await runtime.find(['0'.repeat(64)]), []);
  for (const wrong of ['{}', '[{"Id": 7}]', 'no JSON', '['.repeat(100_000)]) {
    body = wrong;
    await assert.rejects(runtime.list(), wrong.slice(0, 10));
  }
  runtime.close();
  server.close();
});
