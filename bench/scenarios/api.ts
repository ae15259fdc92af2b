/**
 * How fast one client gets events from the log of eight nodes, by each way in: gRPC as the client library decodes it, lines
 * and server-sent events to curl, lines in a browser; in the clear and then under TLS. Each client is a process of its own,
 * one at a time, in turn; beside them the same bytes, in pieces of the same size, from a bare HTTP server. Without chromium
 * its row is left out, as under TLS, where it would not know the authority.
 *
 *   node dist/bench/scenarios/api.js [events] [rounds]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, get as getInTheClear, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createSecureServer, get as getSecurely } from 'node:https';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { inTheClear, securedBy } from '../../src/access/secure-channel.js';
import { connect } from '../../src/client/library/grpc.js';
import { EventWriter } from '../../src/wire/event/event-writer.js';
import { type Pair, TestAuthority } from '../../test/harness/access/certificates.js';
import { TestAgent, TestRecorder } from '../../test/harness/broker/test-agent.js';
import { LibraryPage } from '../../test/harness/library-page.js';
import { until } from '../../test/harness/until.js';
import { eventPool } from '../measuring/event-pool.js';
import { Fleet } from '../measuring/fleet.js';
import { median, report, round } from '../measuring/report.js';

const NODES = 8;
/** Events of a node that are sent together: some 64 KiB. */
const FRAME_EVENTS = 160;
const TOPICS = ['process', 'network'];

interface Got {
  readonly events: number;
  readonly seconds: number;
  readonly bytes: number;
  /** Of the client, where it knows. */
  readonly cpuSeconds?: number;
}

/** What a client is told. */
interface Task {
  readonly grpc: string;
  readonly http: string;
  readonly token: string;
  readonly cursor: string;
  readonly events: number;
  /** Under TLS: the file of the authority. Empty: in the clear. */
  readonly ca: string;
  /** Of the bare server. */
  readonly pair?: Pair;
}

async function compare(events: number, rounds: number): Promise<void> {
  await inTurn(events, rounds, undefined);
  await inTurn(events, rounds, await TestAuthority.make('bench'));
}

async function inTurn(events: number, rounds: number, authority: TestAuthority | undefined): Promise<void> {
  const page = await LibraryPage.start();
  let pair: Pair | undefined;
  const fleet = await Fleet.start(async (hosts) => {
    pair = authority && (await authority.broker([...hosts, '127.0.0.1']));
    return {
      BACKPLANE_HTTP_ORIGINS: page.origin,
      BACKPLANE_LOG_BYTES_MAX: '4GiB',
      ...(pair && { BACKPLANE_TLS_CERT: pair.cert, BACKPLANE_TLS_KEY: pair.key }),
    };
  });
  try {
    const filling = await filled(fleet, events, authority?.ca ?? '');
    const { end } = filling;
    const task = { ...filling.task, ...(pair && { pair }) };
    const bare = spawn(process.execPath, [fileURLToPath(import.meta.url), 'bare', JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = await once(bare.stdout!.setEncoding('utf8'), 'data');
    const served = { ...task, http: `127.0.0.1:${Number(said)}` };
    const [lines, sse] = ['application/x-ndjson', 'text/event-stream'];
    const http1 = ['--http1.1'];
    const ways: Record<string, () => Promise<Got | undefined>> = {
      'gRPC, typed events in batches': () => asChild(task),
      'NDJSON to curl': () => byCurl(task, lines, http1),
      'server-sent events to curl': () => byCurl(task, sse, http1),
      ...(task.ca === ''
        ? { 'NDJSON to a browser': () => inBrowser(page, task) }
        : {
            'NDJSON to curl, HTTP/2': () => byCurl(task, lines, []),
            'server-sent events to curl, HTTP/2': () => byCurl(task, sse, []),
          }),
      'the same NDJSON from a bare server to curl': () => byCurl(served, lines, http1),
    };
    const results = new Map<string, Got[]>();
    for (let at = 0; at < rounds; at += 1) {
      for (const [name, get] of Object.entries(ways)) {
        const got = await get();
        if (got === undefined) continue;
        if (got.events !== events) throw new Error(`${name}: ${got.events} events of ${events}`);
        results.set(name, [...(results.get(name) ?? []), got]);
      }
    }
    bare.kill();
    await end();
    report(
      `one client, from the log of ${NODES} nodes, ${task.ca === '' ? 'in the clear' : 'under TLS'}`,
      [...results].map(([way, all]) => ({
        way,
        'events/s (median)': Math.round(median(all.map((got) => got.events / got.seconds))),
        'MB/s': round(median(all.map((got) => got.bytes / got.seconds / 1e6)), 1),
        'bytes an event': Math.round(all[0]!.bytes / all[0]!.events),
        'CPU of the client, µs an event': round(
          median(all.map((got) => ((got.cpuSeconds ?? 0) / got.events) * 1e6)),
          2,
        ),
      })),
      { events, rounds },
    );
  } finally {
    page.close();
    await fleet.destroy();
  }
}

/**
 * Fills the log, and returns what resumes before all of it but one event of each node. Until `end` somebody goes on
 * asking, so that the log is known to be whole, and not the recorders are asked.
 */
async function filled(
  fleet: Fleet,
  events: number,
  ca: string,
): Promise<{ readonly task: Task; readonly end: () => Promise<void> }> {
  await fleet.commands[0]!.says(/listening on/);
  const { token } = fleet;
  const bus = await connect({ brokers: [fleet.grpc], token, ...secured(ca) });
  const securityFor = ca === '' ? inTheClear : securedBy({ ca, own: undefined });
  const agents = await Promise.all(
    Array.from({ length: NODES }, (_, at) =>
      TestAgent.connect(fleet.grpc, `node-${at}`, recorder(at), {}, token, securityFor),
    ),
  );
  const sources = agents.map((agent) => new Source(agent));
  let had = 0;
  let cursor = '';
  const held = (async () => {
    for await (const item of bus.subscribe({ topics: TOPICS, follow: true }).batches()) {
      if (item.kind !== 'events') continue;
      had += item.events.length;
      if (had <= NODES) cursor = item.cursor;
    }
  })();
  await until('interest', () => agents.every(({ topics }) => topics.length === TOPICS.length));
  for (const source of sources) source.send(1);
  await until('the first events', () => had === NODES);
  for (let sent = 0; sent < events; ) {
    for (const source of sources) {
      const count = Math.min(FRAME_EVENTS, events - sent);
      if (count > 0) source.send(count);
      sent += count;
    }
    await until(
      'the log has them',
      () => had >= NODES + sent - NODES * FRAME_EVENTS * 4,
      () => had,
    );
  }
  await until(
    'the log has all',
    () => had === NODES + events,
    () => had,
  );
  const task = { grpc: fleet.grpc, http: fleet.http, token, cursor, events, ca };
  const end = async () => {
    await bus.close();
    await held;
  };
  return { task, end };
}

function recorder(at: number): TestRecorder {
  return new TestRecorder(`recorder-${at}`);
}

/** Sends a node's events, of the pool in turn. */
class Source {
  readonly #agent: TestAgent;
  readonly #writer = new EventWriter();
  readonly #wallNs = BigInt(Date.now()) * 1_000_000n;
  #sent = 0;

  constructor(agent: TestAgent) {
    this.#agent = agent;
  }

  send(count: number): void {
    const { recorder } = this.#agent;
    recorder.events.length = 0;
    for (let at = 0; at < count; at += 1) {
      const timeNs = BigInt(++this.#sent) * 10_000n;
      const position = { epoch: recorder.epoch, timeNs, lane: 0, tie: 0 };
      const event = { ...POOL[this.#sent % POOL.length]!, position, wallNs: this.#wallNs + timeNs };
      this.#writer.write(event);
      recorder.events.push({ event, run: Buffer.from(this.#writer.take()) });
    }
    this.#agent.publish();
  }
}

async function asChild(task: Task): Promise<Got> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'grpc', JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await once(child, 'close');
  return JSON.parse(said) as Got;
}

function secured(ca: string): { readonly tls?: { readonly ca: Buffer } } {
  return ca === '' ? {} : { tls: { ca: readFileSync(ca) } };
}

/** Twice: the first time the code is compiled. */
async function byGrpc({ grpc, token, cursor, events, ca }: Task): Promise<void> {
  const bus = await connect({ brokers: [grpc], token, ...secured(ca) });
  let got: Got | undefined;
  for (let time = 0; time < 2; time += 1) {
    const [began, usage] = [performance.now(), process.cpuUsage()];
    let had = 0;
    const feed = bus.subscribe({ topics: TOPICS, follow: true, limit: events, cursor });
    for await (const item of feed.batches()) if (item.kind === 'events') had += item.events.length;
    const { user, system } = process.cpuUsage(usage);
    got = { events: had, seconds: (performance.now() - began) / 1000, bytes: 0, cpuSeconds: (user + system) / 1e6 };
  }
  await bus.close();
  console.log(JSON.stringify(got));
}

/** What is asked for, whoever answers. */
function urlOf({ http, cursor, events, ca }: Task): string {
  const query = new URLSearchParams({ cursor, follow: 'true', limit: String(events) });
  for (const topic of TOPICS) query.append('topic', topic);
  return `${ca === '' ? 'http' : 'https'}://${http}/v1/events?${query}`;
}

async function byCurl(task: Task, accept: string, options: readonly string[]): Promise<Got> {
  const { token, ca } = task;
  const all = [...options, ...(ca === '' ? [] : ['--cacert', ca])].join(' ');
  const count = `curl -sN ${all} -H @- -w '%{stderr}%{size_download} %{time_total}' '${urlOf(task)}' | grep -c '"type":'`;
  const child = spawn('sh', ['-c', count], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(`Authorization: Bearer ${token}\nAccept: ${accept}\n`);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  await once(child, 'close');
  const [bytes, seconds] = err.trim().split(' ').map(Number);
  return { events: Number(out), seconds: seconds!, bytes: bytes! };
}

async function inBrowser(page: LibraryPage, { http, token, cursor, events }: Task): Promise<Got | undefined> {
  if (page.missing !== false) return undefined;
  return (await page.run(
    `const bus = await connect({ brokers: [given.http], token: given.token });
    let got;
    for (let time = 0; time < 2; time += 1) {
      const began = performance.now();
      let events = 0;
      const feed = bus.subscribe({ topics: given.topics, follow: true, limit: given.events, cursor: given.cursor });
      for await (const item of feed.batches()) if (item.kind === 'events') events += item.events.length;
      got = { events, seconds: (performance.now() - began) / 1000, bytes: 0 };
    }
    return got;`,
    { http, token, cursor, events, topics: TOPICS },
  )) as Got;
}

/**
 * Asks for the lines once, and sends the same to whoever asks then, as many bytes at a time as the events of a frame have:
 * lines, because what counts them would be slow to read one that does not end.
 */
async function bareServer(task: Task): Promise<void> {
  const { token, events, ca, pair } = task;
  const asked = { headers: { authorization: `Bearer ${token}`, accept: 'application/x-ndjson' } };
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const request =
      ca === '' ? getInTheClear(urlOf(task), asked) : getSecurely(urlOf(task), { ...asked, ca: readFileSync(ca) });
    request.on('response', resolve).on('error', reject);
  });
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const lines = Buffer.concat(chunks);
  const pieceBytes = Math.round((lines.length / events) * FRAME_EVENTS);
  const serve: RequestListener = async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8' });
    for (let at = 0; at < lines.length; at += pieceBytes) {
      if (!response.write(lines.subarray(at, at + pieceBytes))) await once(response, 'drain');
    }
    response.end();
  };
  const server =
    pair === undefined
      ? createServer(serve)
      : createSecureServer({ cert: readFileSync(pair.cert), key: readFileSync(pair.key) }, serve);
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
}

const POOL = eventPool();

const [, , role, given] = process.argv;
if (role === 'grpc') await byGrpc(JSON.parse(given!) as Task);
else if (role === 'bare') await bareServer(JSON.parse(given!) as Task);
else await compare(Number(role ?? 400_000), Number(given ?? 5));
