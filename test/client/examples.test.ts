/** Strangers: the examples that are not TypeScript, and buf, against a real bus. Each reads, and resumes where it ended. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Bus } from '../harness/bus/bus.js';
import { tokenFile } from '../harness/bus/token.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { needs } from '../harness/tools.js';
import { until } from '../harness/until.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const DIR = scratchDirectory('examples');
const PYTHON = '/usr/bin/python3';
const LIMIT = 7;

let bus: Bus;
let env: NodeJS.ProcessEnv;

before(async () => {
  bus = await Bus.start({ BACKPLANE_SOURCE: 'synthetic' });
  env = {
    ...{ BACKPLANE_BROKERS: bus.grpc, BACKPLANE_HTTP: `http://${bus.http}`, CURSOR_FILE: join(DIR, 'cursor') },
    BACKPLANE_TOKEN: readFileSync(tokenFile(bus.brokerDir), 'utf8').trim(),
  };
  await until('enough events', async () => {
    const text = await (await bus.get(`/v1/events?topic=process&since=1h&limit=${2 * LIMIT}`)).text();
    const events = text.split('\n').filter((line) => line.includes('"event"'));
    whole = placesOf(events.map((line) => JSON.stringify(JSON.parse(line).result.event)));
    return whole.length === 2 * LIMIT;
  });
});

after(() => bus.destroy());

interface Said {
  readonly out: readonly string[];
  readonly err: string;
}

/** The lines of a program that must succeed. */
async function said(command: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Said> {
  const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, ...env, ...more } });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 0, `${out}${err}`);
  return { out: out.split('\n').filter((line) => line !== ''), err };
}

/** The places of events, which name them; they are in order. */
function placesOf(lines: readonly string[]): string[] {
  return lines.map((line) => {
    const { position } = JSON.parse(line) as {
      position: { epoch: string; timeNs: string; lane?: number; tie?: number };
    };
    return `${position.timeNs.padStart(20, '0')}/${position.lane ?? 0}/${position.tie ?? 0}`;
  });
}

/** Two answers are one stretch of what happened, without a seam. */
function assertFollows(first: readonly string[], second: readonly string[]): void {
  const places = placesOf([...first, ...second]);
  assert.deepEqual([first.length, second.length], [LIMIT, LIMIT]);
  assert.deepEqual(places, whole.slice(0, 2 * LIMIT));
}

/** What the broker has, from the oldest. */
let whole: readonly string[] = [];

test('curl and jq', { skip: needs('jq --version && curl --version', 'jq', 'curl') }, async () => {
  const script = join(ROOT, 'examples/events.sh');
  assertFollows((await said(script, [`${LIMIT}`])).out, (await said(script, [`${LIMIT}`])).out);
  rmSync(join(DIR, 'cursor'));
});

const withoutGrpc = needs(`${PYTHON} -c 'import grpc, google.protobuf'`, 'python3-grpcio', 'python3-protobuf');

test('Python by the descriptors that the broker serves', { skip: withoutGrpc }, async () => {
  const example = join(ROOT, 'examples/python/feed_by_descriptors.py');
  const first = await said(PYTHON, [example, `${LIMIT}`]);
  assert.match(first.err, /^service backplane\.v1\.Backplane$/m);
  const [, cursor] = /^cursor (\S+)$/m.exec(first.err)!;
  assertFollows(first.out, (await said(PYTHON, [example, `${LIMIT}`, cursor!])).out);
});

const withoutProtoc = needs(
  'protoc --version && command -v grpc_python_plugin && test -e /usr/include/google/protobuf/timestamp.proto',
  'protobuf-compiler-grpc',
  'libprotobuf-dev',
  'protobuf-compiler',
);

test('Python by generated stubs', { skip: withoutGrpc || withoutProtoc }, async () => {
  const plugin = (await said('sh', ['-c', 'command -v grpc_python_plugin'])).out[0];
  const protos = readdirSync(join(ROOT, 'proto/backplane/v1')).map((name) => `backplane/v1/${name}`);
  const outputs = [`--python_out=${DIR}`, `--grpc_out=${DIR}`, `--plugin=protoc-gen-grpc=${plugin}`];
  await said('protoc', ['-I', 'proto', ...outputs, ...protos]);
  const example = [join(ROOT, 'examples/python/feed_by_stubs.py'), `${LIMIT}`];
  const first = await said(PYTHON, example, { PYTHONPATH: DIR });
  assert.match(first.err, /^service backplane\.v1\.Backplane$/m);
  assert.match(first.err, /^node node-under-test$/m);
  const [, cursor] = /^cursor (\S+)$/m.exec(first.err)!;
  assertFollows(first.out, (await said(PYTHON, [...example, cursor!], { PYTHONPATH: DIR })).out);
});

test('buf by reflection lists the services, streams and resumes', async () => {
  const curl = (...args: string[]) =>
    said(join(ROOT, 'node_modules/.bin/buf'), [
      ...[
        'curl',
        '--http2-prior-knowledge',
        '--protocol',
        'grpc',
        '--reflect-header',
        `authorization: Bearer ${env.BACKPLANE_TOKEN}`,
      ],
      ...['--header', `authorization: Bearer ${env.BACKPLANE_TOKEN}`, ...args],
    ]);
  const services = (await curl('--list-services', `http://${bus.grpc}`)).out;
  for (const name of [
    'backplane.v1.Backplane',
    'backplane.v1.Groups',
    'backplane.v1.Publisher',
    'grpc.health.v1.Health',
  ])
    assert.ok(services.includes(name), services.join());
  const batches = async (request: object) => {
    const { out } = await curl('-d', JSON.stringify(request), `http://${bus.grpc}/backplane.v1.Backplane/Subscribe`);
    // Messages of many lines each, one behind the other.
    const messages = JSON.parse(`[${out.join('\n').replace(/^\}$(?=\n\{)/gm, '},')}]`) as {
      readonly events?: { readonly cursor: string; readonly events: readonly object[] };
    }[];
    return messages.flatMap(({ events }) => (events === undefined ? [] : [events]));
  };
  const ask = { topics: ['process'], limit: LIMIT };
  const first = await batches({ ...ask, since: '1h' });
  const second = await batches({ ...ask, cursor: first.at(-1)!.cursor });
  const lines = (answer: typeof first) => answer.flatMap(({ events }) => events.map((event) => JSON.stringify(event)));
  assertFollows(lines(first), lines(second));
});
