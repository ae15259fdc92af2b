/**
 * One subscriber asks for 0.1 % of 200,000 system calls a second: Backplane, where the filter runs at the node, against
 * NATS, where every event is published and the subscriber filters. CPU of all processes that carry events, and bytes that
 * leave the node. Needs root, tracefs, perl and nats-server.
 *
 *   node dist/bench/scenarios/nats-ratio.js [seconds]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from 'nats';
import { EventWriter } from '../../src/wire/event/event-writer.js';
import { Bus } from '../../test/harness/bus/bus.js';
import { ownAddress } from '../../test/harness/own-address.js';
import { cpuSeconds } from '../measuring/process-cost.js';
import { report, round } from '../measuring/report.js';

const CALLS_PER_SECOND = 200_000;
const MATCH_EVERY = 1_000;
const MARK = 4242;
const FILTER = `event.type == "syscall.enter" && syscall.id == 39 && syscall.arg0 == ${MARK}`;
/** Until everything that runs often is compiled. */
const WARM_UP_MS = 15_000;
const SUBJECT = 'kernel.syscall';

/** getpid(2), so many times a millisecond; one in MATCH_EVERY with a mark in its first register. */
const LOAD = `
use Time::HiRes qw(time sleep);
my ($start, $done) = (time, 0);
while (1) {
  my $due = int((time - $start) * ${CALLS_PER_SECOND});
  for (; $done < $due; $done++) { $done % ${MATCH_EVERY} ? syscall(39, 1) : syscall(39, ${MARK}) }
  sleep 0.001;
}`;

interface Used {
  readonly cpu: number;
  readonly bytes: number;
  readonly events: number;
  readonly matched: number;
}

const [, , role, address] = process.argv;
if (role === 'publish') await publish(address!);
else if (role === 'filter') await filter(address!);
else await compare(Number(role ?? 10));

async function compare(seconds: number): Promise<void> {
  const backplane = await withBackplane(seconds);
  const nats = await withNats(seconds);
  const row = (what: string, { cpu, bytes, events, matched }: Used) => ({
    what,
    'events/s at the node': Math.round(events / seconds),
    'matches/s delivered': Math.round(matched / seconds),
    'CPU s per 1 M events': round((cpu / events) * 1e6, 3),
    'bytes from the node per event': round(bytes / events, 3),
  });
  report('0.1 % of 200,000 events/s', [row('Backplane', backplane.all), row('NATS', nats)], {
    'NATS to Backplane, CPU': round(nats.cpu / nats.events / (backplane.all.cpu / backplane.all.events), 1),
    'NATS to Backplane, bytes': round(nats.bytes / nats.events / (backplane.all.bytes / backplane.all.events), 1),
    'agent, % of a core': round((backplane.agentCpu / seconds) * 100, 1),
    'agent target': '<= 5 %',
    'uplink bytes to matched events own size': round(backplane.all.bytes / backplane.eventBytes, 2),
    'uplink target': '<= 1.2',
  });
}

async function withBackplane(seconds: number): Promise<{ all: Used; agentCpu: number; eventBytes: number }> {
  const bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'syscall', BACKPLANE_BUFFER_BYTES_PER_CPU: '32MiB' });
  const load = spawn('perl', ['-e', LOAD], { stdio: 'ignore' });
  try {
    const observer = await bus.follow('--topic', 'syscall', '--filter', FILTER);
    await sleep(WARM_UP_MS);
    const pids = [bus.up.child.pid!, await bus.agentPid(), observer.child.pid!];
    const read = async () => {
      const list = async (what: string) => (await (await bus.get(`/v1/${what}`)).json()) as never;
      const { nodes } = (await list('nodes')) as { nodes: { uplinkBytes: string; eventsRecorded: string }[] };
      const { subscriptions } = (await list('subscriptions')) as {
        subscriptions: { eventsDelivered: string; bytesDelivered: string }[];
      };
      return {
        cpus: pids.map(cpuSeconds),
        bytes: Number(nodes[0]!.uplinkBytes),
        recorded: Number(nodes[0]!.eventsRecorded),
        matched: Number(subscriptions[0]!.eventsDelivered),
        eventBytes: Number(subscriptions[0]!.bytesDelivered),
      };
    };
    const before = await read();
    await sleep(seconds * 1000);
    const after = await read();
    const cpus = after.cpus.map((cpu, at) => cpu - before.cpus[at]!);
    await observer.stop('SIGINT');
    const all = {
      cpu: cpus.reduce((sum, cpu) => sum + cpu, 0),
      bytes: after.bytes - before.bytes,
      events: after.recorded - before.recorded,
      matched: after.matched - before.matched,
    };
    return { all, agentCpu: cpus[1]!, eventBytes: after.eventBytes - before.eventBytes };
  } finally {
    load.kill('SIGKILL');
    await bus.destroy();
  }
}

async function withNats(seconds: number): Promise<Used> {
  const url = await ownAddress();
  const server = spawn('nats-server', ['-a', url.split(':')[0]!, '-p', url.split(':')[1]!], { stdio: 'ignore' });
  await sleep(1_000);
  const children: ChildProcess[] = [];
  const child = (what: string) => {
    const one = spawn(process.execPath, [fileURLToPath(new URL(import.meta.url)), what, url], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    children.push(one);
    return one;
  };
  try {
    const subscriber = child('filter');
    const publisher = child('publish');
    await sleep(WARM_UP_MS);
    const read = async () => {
      const counts = await Promise.all([subscriber, publisher].map(countOf));
      return { cpus: [server, subscriber, publisher].map(({ pid }) => cpuSeconds(pid!)), counts };
    };
    const before = await read();
    await sleep(seconds * 1000);
    const after = await read();
    const counted = (at: number, what: keyof Count) => after.counts[at]![what] - before.counts[at]![what];
    return {
      cpu: after.cpus.reduce((sum, cpu, at) => sum + cpu - before.cpus[at]!, 0),
      bytes: counted(1, 'bytes'),
      events: counted(1, 'events'),
      matched: counted(0, 'matched'),
    };
  } finally {
    for (const one of [...children, server]) one.kill('SIGKILL');
  }
}

interface Count {
  readonly events: number;
  readonly bytes: number;
  readonly matched: number;
}

async function countOf(child: ChildProcess): Promise<Count> {
  const answer = once(child, 'message') as Promise<[Count]>;
  child.send('count');
  return (await answer)[0];
}

/** What an agent that decides nothing does: every event, encoded. Reading the kernel is not even counted. */
async function publish(url: string): Promise<void> {
  const connection = await connect({ servers: url });
  const writer = new EventWriter();
  let [events, bytes] = [0, 0];
  process.on('message', () => process.send!({ events, bytes, matched: 0 }));
  const startMs = performance.now();
  for (;;) {
    const due = Math.floor(((performance.now() - startMs) * CALLS_PER_SECOND) / 1000);
    for (; events < due; events += 1) {
      const first = events % MATCH_EVERY === 0 ? BigInt(MARK) : 1n;
      writer.write({
        type: 'syscall.enter',
        topic: 'syscall',
        position: { epoch: 1, timeNs: BigInt(events), lane: 0, tie: 0 },
        wallNs: 1_700_000_000_000_000_000n + BigInt(events),
        process: { pid: 4711, parentPid: 1, comm: 'perl', executable: { path: '/usr/bin/perl', name: 'perl' } },
        syscall: { id: 39n, name: 'getpid', args: [first, 0n, 0n, 0n, 0n, 0n], result: 0n, returned: false },
      });
      const event = writer.take();
      bytes += event.length;
      connection.publish(SUBJECT, event);
    }
    await connection.flush();
    await sleep(1);
  }
}

/** Decides by the bytes of the event: cheaper than decoding it. */
async function filter(url: string): Promise<void> {
  const connection = await connect({ servers: url });
  let [events, bytes, matched] = [0, 0, 0];
  process.on('message', () => process.send!({ events, bytes, matched }));
  // Its first register, as it stands in the event.
  const mark = Buffer.alloc(8);
  mark.writeBigInt64LE(BigInt(MARK));
  for await (const { data } of connection.subscribe(SUBJECT)) {
    events += 1;
    bytes += data.length;
    if (Buffer.from(data.buffer, data.byteOffset, data.length).includes(mark)) matched += 1;
  }
}
