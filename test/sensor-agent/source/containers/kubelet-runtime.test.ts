/** A kubelet's pods, of a double that answers as one does: who asks with the token gets names, and a wrong answer is none. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createPlainServer, type RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { isRuntime } from '../../../../src/config/addresses.js';
import { RUNTIME_ANSWER_BYTES_MAX } from '../../../../src/limits/containers.js';
import { KubeletRuntime } from '../../../../src/sensor-agent/source/containers/kubelet-runtime.js';
import { runtimePlaces } from '../../../../src/sensor-agent/source/containers/runtime-places.js';
import { Runtimes } from '../../../../src/sensor-agent/source/containers/runtimes.js';
import { TestAuthority } from '../../../harness/access/certificates.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const [ID, INIT, OLD] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];
const DIGEST = `sha256:${'d'.repeat(64)}`;
const STARTED = '2026-01-02T03:04:05Z';

/** As `GET /pods` of Kubernetes 1.31 has it, without what is passed over. */
const PODS = {
  kind: 'PodList',
  apiVersion: 'v1',
  metadata: {},
  items: [
    {
      metadata: {
        name: 'web-1',
        namespace: 'shop',
        uid: '6f265890-3165-4fab-9b52-8d2a0f00c0de',
        annotations: { a: 'b' },
      },
      spec: { containers: [{ name: 'web', image: 'nginx:1.27' }], nodeName: 'node-1' },
      status: {
        phase: 'Running',
        initContainerStatuses: [
          {
            name: 'init',
            state: { terminated: { exitCode: 0, startedAt: STARTED, containerID: `containerd://${INIT}` } },
            image: DIGEST,
            imageID: `docker.io/library/busybox@${DIGEST}`,
            containerID: `containerd://${INIT}`,
          },
        ],
        containerStatuses: [
          {
            name: 'web',
            state: { running: { startedAt: STARTED } },
            lastState: {},
            image: 'docker.io/library/nginx:1.27',
            imageID: `docker.io/library/nginx@${DIGEST}`,
            containerID: `containerd://${ID}`,
          },
          { name: 'waits', state: { waiting: { reason: 'ContainerCreating' } }, image: 'nginx', imageID: '' },
        ],
      },
    },
    { metadata: { name: 'new', namespace: 'shop', uid: 'u' }, spec: {}, status: { phase: 'Pending' } },
  ],
};
const OF_POD = { pod: 'web-1', podUid: '6f265890-3165-4fab-9b52-8d2a0f00c0de', namespace: 'shop' };
const WEB = { id: ID, name: 'web', image: 'docker.io/library/nginx', tag: '1.27', ...OF_POD };
const ENDED = { id: INIT, name: 'init', image: 'docker.io/library/busybox', tag: undefined, ...OF_POD };

test('a kubelet names the containers of its pods to who has a token, and what it answers wrongly is an error', async () => {
  const authority = await TestAuthority.make('kubelet');
  const { cert, key } = await authority.brokerPem();
  let answer: RequestListener = (request, response) => {
    const isRight = request.url === '/pods' && request.headers.authorization === 'Bearer secret';
    response.writeHead(isRight ? 200 : 401).end(JSON.stringify(PODS));
  };
  const server = createServer({ cert, key }, (request, response) => answer(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const files = { token: join(scratchDirectory('kubelet'), 'token'), ca: authority.ca };
  writeFileSync(files.token, 'secret\n');
  const address = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const runtime = new KubeletRuntime(address, files);
  assert.deepEqual(await runtime.list(), [WEB]);
  assert.deepEqual(await runtime.find([OLD, ID, INIT]), [ENDED, WEB]);
  runtime.close();

  const [place] = runtimePlaces([address], { ...files, token: '/nowhere' });
  assert.equal(place?.kind, 'kubelet');
  const said: string[] = [];
  const log = { info: assert.fail, warn: (message: string) => said.push(message) };
  const runtimes = new Runtimes([place!], log);
  assert.equal(runtimes.look(), true);
  assert.deepEqual(await runtimes.ask([ID]), { found: [], whole: false });
  assert.match(said.join(), /https:\/\/127\.0\.0\.1:\d+ does not name containers: .*'\/nowhere'/);
  runtimes.close();

  const wrong: RequestListener[] = [
    (_request, response) => response.writeHead(403).end('Forbidden'),
    (_request, response) => response.end('no JSON'),
    (_request, response) => response.end('{"items": [{"metadata": {"name": 7}}]}'),
    (_request, response) => response.end(Buffer.alloc(RUNTIME_ANSWER_BYTES_MAX + 1)),
    (request) => request.socket.destroy(),
  ];
  for (const each of wrong) {
    answer = each;
    const asked = new KubeletRuntime(address, files);
    await assert.rejects(asked.find([ID]));
    asked.close();
  }
  const stranger = new KubeletRuntime(address, { ...files, ca: (await TestAuthority.make('other')).ca });
  await assert.rejects(stranger.find([ID]), /certificate/);
  server.close();
});

test('its address has a host and a port, and nothing else', () => {
  for (const right of ['https://node-1:10250', 'http://[::1]:10255', '/run/crio/crio.sock', 'auto'])
    assert.equal(isRuntime(right), true, right);
  for (const wrong of [
    'https://node-1:10250/pods',
    'https://user@node-1',
    'http://',
    'https://a b',
    'ftp://a',
    'crio.sock',
  ])
    assert.equal(isRuntime(wrong), false, wrong);
});

test('its read-only port is asked without a token, once for all questions of a moment', async () => {
  let questions = 0;
  const server = createPlainServer((request, response) => {
    questions += 1;
    response.writeHead(request.headers.authorization === undefined ? 200 : 400).end(JSON.stringify(PODS));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const runtime = new KubeletRuntime(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    token: '',
    ca: '',
  });
  const answers = await Promise.all([runtime.list(), runtime.find([ID]), runtime.find([OLD])]);
  assert.deepEqual([answers, questions], [[[WEB], [WEB], []], 1]);
  runtime.close();
  server.close();
});
