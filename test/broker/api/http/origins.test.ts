/** Pages of other origins: refused on loopback too, unless a setting names them; those alone may read answers. */
import assert from 'node:assert/strict';
import { type IncomingHttpHeaders, request } from 'node:http';
import { afterEach, beforeEach, test } from 'node:test';
import { loadConfig } from '../../../../src/config.js';
import { Harness } from '../../../harness/broker/harness.js';
import { bearer } from '../../../harness/bus/token.js';

const CONSOLE = 'https://console.example:8443';
let harness: Harness;
beforeEach(async () => {
  harness = new Harness();
  harness.origins = [CONSOLE, 'http://localhost:3000'];
  harness.wantsToken = true;
  await harness.startBroker();
});
afterEach(() => harness.destroy());

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** With any headers, which fetch would not send. */
function ask(method: string, path: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const url = `http://${harness.broker.httpAddress}${path}`;
    const call = request(url, { method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    call.on('error', reject).end();
  });
}

/** As a browser says where a page is from. */
const from = (origin: string) => ({ origin, 'sec-fetch-site': 'cross-site' });
const preflight = (origin: string, path: string) => {
  const asked = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };
  return ask('OPTIONS', path, { ...from(origin), ...asked });
};

test('a page of a named origin is served, refusals included, and told to the browser by its exact name', async () => {
  for (const origin of harness.origins) {
    const { status, headers } = await ask('GET', '/v1/status', { ...from(origin), ...bearer(harness.dataDir) });
    assert.deepEqual([status, headers['access-control-allow-origin'], headers.vary], [200, origin, 'Origin']);
    assert.equal(headers['access-control-allow-credentials'], undefined);
    const refused = await ask('GET', '/v1/status', from(origin));
    assert.deepEqual([refused.status, refused.headers['access-control-allow-origin']], [401, origin]);
  }
  const own = await ask('GET', '/v1/status', bearer(harness.dataDir));
  assert.deepEqual(
    [own.status, own.headers['access-control-allow-origin'], own.headers.vary],
    [200, undefined, 'Origin'],
  );
});

test('a preflight of such a page is answered without a token, with the methods of the path', async () => {
  const { status, headers, body } = await preflight(CONSOLE, '/v1/events');
  assert.deepEqual([status, body, headers['access-control-allow-origin']], [204, '', CONSOLE]);
  assert.equal(headers['access-control-allow-methods'], 'GET, POST');
  assert.equal(headers['access-control-allow-headers'], 'authorization, content-type, last-event-id');
  assert.equal((await preflight(CONSOLE, '/v1/nowhere')).status, 404);
});

test('every other origin is refused, whatever it resembles, and so are requests that say none', async () => {
  const strangers = [
    'null',
    'https://console.example',
    `${CONSOLE}.evil.example`,
    CONSOLE.toUpperCase(),
    `${CONSOLE}/`,
  ];
  for (const origin of [...strangers, 'http://console.example:8443', 'http://localhost:3001', '*', '']) {
    for (const { status, headers } of [
      await ask('GET', '/v1/events?follow=true', { ...from(origin), ...bearer(harness.dataDir) }),
      await preflight(origin, '/v1/events'),
    ])
      assert.deepEqual([status, headers['access-control-allow-origin']], [403, undefined], origin);
  }
  const image = await ask('GET', '/v1/events?follow=true', { 'sec-fetch-site': 'cross-site' });
  assert.match(image.body, /Sec-Fetch-Site must be .*served only where http\.origins names them/);
  const rebound = await ask('GET', '/v1/status', { ...from(CONSOLE), host: 'evil.example' });
  assert.equal(rebound.status, 403);
  assert.match(rebound.body, /Host must be localhost/);
});

test('the setting takes exact origins only, and none by default', async () => {
  const load = async (environment: Record<string, string>) =>
    (await loadConfig({ flags: {}, environment })).settings['http.origins'];
  assert.deepEqual(await load({}), []);
  const both = await load({ BACKPLANE_HTTP_ORIGINS: `${CONSOLE}, http://localhost:3000` });
  assert.deepEqual(both, [CONSOLE, 'http://localhost:3000']);
  for (const text of [
    '*',
    'null',
    'console.example',
    'https://a.example/',
    'https://a.example:443',
    'ftp://a',
    'https://*',
  ])
    await assert.rejects(
      load({ BACKPLANE_HTTP_ORIGINS: text }),
      /http\.origins must hold origins, like https:\/\/console\.example:8443/,
      text,
    );
});
