/** Labels of the Kubernetes API, of a double: who asks with the pod's token gets those of its node, and no answer is none. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { KUBERNETES_ANSWER_BYTES_MAX, NODE_LABELS_MAX } from '../../src/limits/containers.js';
import { apiOfPod, kubernetesLabels } from '../../src/sensor-agent/kubernetes-labels.js';
import { TestAuthority } from '../harness/access/certificates.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const NODE = {
  kind: 'Node',
  metadata: {
    name: 'node-1',
    labels: { 'topology.kubernetes.io/zone': 'eu-1b', role: '', 'bad key': 'x', long: 'v'.repeat(64) },
  },
  status: { images: [{ names: ['a'] }] },
};

test('a node has the labels of the Kubernetes API, as far as they are such, and none where it does not answer', async () => {
  const authority = await TestAuthority.make('api');
  const dir = scratchDirectory('kubernetes');
  const { cert, key } = await authority.brokerPem();
  let answer: RequestListener = () => undefined;
  const server = createServer({ cert, key }, (request, response) => answer(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const api = {
    ...{ host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    ...{ tokenFile: join(dir, 'token'), caFile: authority.ca },
  };
  writeFileSync(api.tokenFile, 'secret\n');
  const warned: string[] = [];
  const labels = () => kubernetesLabels(api, 'node-1', (message) => warned.push(message));
  answer = (request, response) => {
    const isRight = request.url === '/api/v1/nodes/node-1' && request.headers.authorization === 'Bearer secret';
    response.writeHead(isRight ? 200 : 403).end(JSON.stringify(NODE));
  };
  assert.deepEqual(await labels(), ['role=', 'topology.kubernetes.io/zone=eu-1b']);
  assert.equal(warned.length, 0);
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`k${at}`, 'v']));
  answer = (_request, response) => response.end(JSON.stringify({ metadata: { labels: many } }));
  assert.equal((await labels()).length, NODE_LABELS_MAX);
  const wrong: RequestListener[] = [
    (_request, response) => response.writeHead(403).end('{}'),
    (_request, response) => response.end('no JSON'),
    (_request, response) => response.end('{"metadata": {"labels": {"a": 1}}}'),
    (_request, response) => response.end(Buffer.alloc(KUBERNETES_ANSWER_BYTES_MAX + 1)),
    (request) => request.socket.destroy(),
  ];
  for (const [at, each] of wrong.entries()) {
    answer = each;
    assert.deepEqual(await labels(), []);
    assert.equal(warned.length, at + 1);
  }
  server.close();
  assert.equal(apiOfPod({}), undefined);
  assert.deepEqual(await kubernetesLabels(undefined, 'n', (message) => warned.push(message)), []);
  assert.match(warned.at(-1)!, /this is no pod/);
});
