/**
 * How fast one client gets events from the log of eight nodes, by each way in: gRPC as the client library decodes it, lines
 * and server-sent events to curl, lines in a browser. Each client is a process of its own, one at a time, in turn; beside
 * them the same bytes from a bare HTTP server. Without chromium its row is left out.
 *
 *   node dist/bench/scenarios/api.js [events] [rounds]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { connect } from '../../src/client/library/grpc.js';
import { EventWriter } from '../../src/wire/event/event-writer.js';
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
/** The server that is compared with. */
const PIECE_BYTES = 1024 * 1024;

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
}

async function compare(events: number, rounds: number): Promise<void> {
  const page = await LibraryPage.start();
  const fleet = await Fleet.start({ BACKPLANE_HTTP_ORIGINS: page.origin, BACKPLANE_LOG_BYTES_MAX: '4GiB' });
  try {
    const { task, end } = await filled(fleet, events);
    const lines = await byCurl(task, 'application/x-ndjson', `http://${task.http}`);
    const bare = spawn(process.execPath, [fileURLToPath(import.meta.url), 'bare', `${lines.bytes}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = await once(bare.stdout!.setEncoding('utf8'), 'data');
    const port = Number(said);
    const ways: Record<string, () => Promise<Got | undefined>> = {
      'gRPC, typed events in batches': () => asChild(task),
      'NDJSON to curl': () => byCurl(task, 'application/x-ndjson', `http://${task.http}`),
      'server-sent events to curl': () => byCurl(task, 'text/event-stream', `http://${task.http}`),
      'NDJSON to a browser': () => inBrowser(page, task),
      'as many bytes as NDJSON from a bare server to curl': () => byCurl(task, '*/*', `http://127.0.0.1:${port}`),
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
      `one client, from the log of ${NODES} nodes`,
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
): Promise<{ readonly task: Task; readonly end: () => Promise<void> }> {
  await until('the broker', () =>
    fetch(`http://${fleet.http}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  const { token } = fleet;
  const bus = await connect({ brokers: [fleet.grpc], token });
  const agents = await Promise.all(
    Array.from({ length: NODES }, (_, at) => TestAgent.connect(fleet.grpc, `node-${at}`, recorder(at), {}, token)),
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
  const task = { grpc: fleet.grpc, http: fleet.http, token, cursor, events };
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

/** Twice: the first time the code is compiled. */
async function byGrpc({ grpc, token, cursor, events }: Task): Promise<void> {
  const bus = await connect({ brokers: [grpc], token });
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

async function byCurl({ token, cursor, events }: Task, accept: string, origin: string): Promise<Got> {
  const query = new URLSearchParams({ cursor, follow: 'true', limit: String(events) });
  const topics = TOPICS.map((topic) => `&topic=${topic}`).join('');
  const count = `curl -sN -H @- -w '%{stderr}%{size_download} %{time_total}' '${origin}/v1/events?${query}${topics}' | grep -c '"type":'`;
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
  const isBare = accept === '*/*';
  return { events: isBare ? events : Number(out), seconds: seconds!, bytes: bytes! };
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

/** Sends so many bytes to whoever asks. */
async function bareServer(bytes: number): Promise<void> {
  const piece = Buffer.alloc(PIECE_BYTES, 'a');
  const server = createServer(async (_request, response) => {
    for (let left = bytes; left > 0; left -= piece.length) {
      if (!response.write(left < piece.length ? piece.subarray(0, left) : piece)) await once(response, 'drain');
    }
    response.end();
  });
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
}

const POOL = eventPool();

const [, , role, given] = process.argv;
if (role === 'grpc') await byGrpc(JSON.parse(given!) as Task);
else if (role === 'bare') await bareServer(Number(given));
else await compare(Number(role ?? 400_000), Number(given ?? 5));
