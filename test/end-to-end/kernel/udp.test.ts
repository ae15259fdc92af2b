/** What UDP sockets do and what is asked of DNS, by what the kernel has: probes, or the routes that it looks up. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Bus, cannotTrace, type EventLine, type Observer } from '../../harness/bus/bus.js';
import { cannotProbeKernel } from '../../harness/kernel/live-kernel.js';

const skip = cannotTrace;
/** Whether the kernel tells it by probes: all of it. */
const probed = cannotProbeKernel() === false;

let bus: Bus;
before(async () => {
  // In an emulator everything costs twenty times as much: without a bound on it.
  if (!skip) bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'lite,udp', BACKPLANE_AGENT_GUARD_CPU: '0' });
});
after(async () => {
  if (!skip) await bus.destroy();
});

/** Does what `steps` says, with sockets of its own, and prints the ports of all of them. */
const PROGRAM = `
  const dgram = require('node:dgram');
  const run = async () => {
    const sockets = {};
    const steps = JSON.parse(process.argv[1]);
    for (const [name, what, to, ...more] of steps) {
      const address = (each) => sockets[each] ? [sockets[each].address().port, more[0]] : more;
      if (what === 'open') {
        sockets[name] = dgram.createSocket(to);
        await new Promise((done) => sockets[name].bind({ port: more[1] ?? 0, address: more[0] }, done));
      } else if (what === 'connect')
        await new Promise((done) => { sockets[name].once('connect', done); sockets[name].connect(...address(to)); });
      else if (what === 'send')
        await new Promise((done) => sockets[name].send('datagram', ...(to === undefined ? [] : address(to)), done));
      else if (what === 'ask')
        await new Promise((done) => sockets[name].send(Buffer.from(more[2], 'hex'), more[0], more[1], done));
    }
    console.log(JSON.stringify(Object.fromEntries(Object.entries(sockets).map(([name, one]) => [name, one.address().port]))));
    for (const one of Object.values(sockets)) one.close();
  };
  run().catch((error) => { console.error(error); process.exit(1); });
`;

/** In a network namespace of its own, where nobody else listens. */
const ALONE = ['unshare', '-n', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh'];

type Step = readonly (string | number | undefined)[];
interface Run {
  readonly pid: number;
  readonly ports: Readonly<Record<string, number>>;
}

function run(steps: readonly Step[], within: readonly string[] = []): Run {
  const [program, ...args] = [...within, process.execPath, '-e', PROGRAM, JSON.stringify(steps)];
  const { pid, status, stdout, stderr } = spawnSync(program!, args);
  assert.equal(status, 0, String(stderr));
  return { pid, ports: JSON.parse(String(stdout)) as Record<string, number> };
}

/** `send 127.0.0.1:1 < 2`: an address that is not known, which is no error, is left out on both sides. */
function told(events: readonly EventLine[], { pid, ports }: Run): string[] {
  const nameOf = new Map(Object.entries(ports).map(([name, port]) => [port, name]));
  return events
    .filter((event) => event.process?.pid === pid && event.type.startsWith('network.udp.'))
    .map(({ type, network }) => {
      const { local, peer, datagrams = '' } = network!;
      const count = type.endsWith('.send') ? ` x${datagrams}` : '';
      return `${type.slice('network.udp.'.length)} ${nameOf.get(local.port) ?? local.port} > ${peer.address}:${nameOf.get(peer.port) ?? peer.port}${count}`;
    });
}

/** Both ways of asking, once the run's last event is there. */
async function both(observer: Observer, one: Run, isLast: (event: EventLine) => boolean): Promise<EventLine[][]> {
  await observer.sees((event) => event.process?.pid === one.pid && isLast(event));
  await observer.stop('SIGINT');
  const history = bus.observe('--topic', 'network', '--since', '1h', '--filter', `process.pid == ${one.pid}`);
  assert.equal(await history.exited, 0, history.stderr);
  return [observer.events.filter((event) => event.process?.pid === one.pid), history.events];
}

const toPort = (port: number | undefined) => (event: EventLine) =>
  event.type === 'network.udp.connect' && event.network!.peer.port === port;

test('peers of sockets and their first datagrams are told once, of both families, live as in history', {
  skip,
}, async () => {
  const observer = await bus.follow('--topic', 'network', '--filter', 'network.transport == "udp"');
  const one = run([
    ['peer', 'open', 'udp4', '127.0.0.1'],
    ['other', 'open', 'udp4', '127.0.0.1'],
    ['peer6', 'open', 'udp6', '::1'],
    ['plain', 'open', 'udp4'],
    ['plain', 'send', 'peer', '127.0.0.1'],
    ['plain', 'send', 'peer', '127.0.0.1'],
    ['plain', 'send', 'other', '127.0.0.1'],
    ['plain', 'send', 'peer', '127.0.0.1'],
    ['bound', 'open', 'udp4', '127.0.0.1'],
    ['bound', 'send', 'peer', '127.0.0.1'],
    ['connected', 'open', 'udp4'],
    ['connected', 'connect', 'peer', '127.0.0.1'],
    ['connected', 'send'],
    ['connected', 'send'],
    ['plain6', 'open', 'udp6'],
    ['plain6', 'send', 'peer6', '::1'],
    ['plain6', 'send', 'peer6', '::1'],
    ['connected6', 'open', 'udp6'],
    ['connected6', 'connect', 'peer6', '::1'],
    ['connected6', 'send'],
    ['mapped', 'open', 'udp6'],
    ['mapped', 'send', 'peer', '::ffff:127.0.0.1'],
    ['mappedTo', 'open', 'udp6'],
    ['mappedTo', 'connect', 'other', '::ffff:127.0.0.1'],
    ['last', 'open', 'udp4', '127.0.0.1'],
    ['last', 'connect', 'last', '127.0.0.1'],
  ]);
  const byProbes = (line: string) => (probed ? [line] : []);
  const expected = [
    'send plain > 127.0.0.1:peer x1',
    'send plain > 127.0.0.1:other x1',
    'send bound > 127.0.0.1:peer x1',
    'connect connected > 127.0.0.1:peer',
    ...byProbes('send connected > 127.0.0.1:peer x1'),
    'send plain6 > ::1:peer6 x1',
    'connect connected6 > ::1:peer6',
    ...byProbes('send connected6 > ::1:peer6 x1'),
    'send mapped > 127.0.0.1:peer x1',
    'connect mappedTo > 127.0.0.1:other',
    'connect last > 127.0.0.1:last',
  ];
  const [live = [], history = []] = await both(observer, one, toPort(one.ports['last']));
  assert.deepEqual(told(live, one), expected);
  assert.deepEqual(history, live);
  for (const { type, network } of live) {
    assert.equal(network!.transport, 'udp');
    const own = network!.peer.address;
    assert.ok([undefined, own].includes(network!.local.address), JSON.stringify(network));
    if (probed && type === 'network.udp.send') assert.equal(network!.local.address, own);
  }
});

test('what a connected socket sends is never told as another one sent to', { skip }, async () => {
  const observer = await bus.follow('--topic', 'network', '--filter', 'network.transport == "udp"');
  const one = run([
    ['peer', 'open', 'udp6', '::1'],
    ['other', 'open', 'udp6', '::1'],
    ['first', 'open', 'udp6', '::1'],
    ['second', 'open', 'udp6', '::1'],
    ['first', 'connect', 'peer', '::1'],
    ['second', 'connect', 'other', '::1'],
    ['first', 'send'],
    ['last', 'open', 'udp6', '::1'],
    ['last', 'connect', 'last', '::1'],
  ]);
  const [live = []] = await both(observer, one, toPort(one.ports['last']));
  assert.deepEqual(told(live, one), [
    'connect first > ::1:peer',
    'connect second > ::1:other',
    ...(probed ? ['send first > ::1:peer x1'] : []),
    'connect last > ::1:last',
  ]);
});

test('sockets with the same addresses in two network namespaces are two', { skip }, async () => {
  const observer = await bus.follow('--topic', 'network', '--filter', 'network.transport == "udp"');
  const steps: Step[] = [
    ['plain', 'open', 'udp4', '127.0.0.1', 4_711],
    ['plain', 'send', undefined, 4_712, '127.0.0.1'],
    ['plain', 'send', undefined, 4_712, '127.0.0.1'],
    ['last', 'open', 'udp4', '127.0.0.1', 4_713],
    ['last', 'connect', 'last', '127.0.0.1'],
  ].map((step) => (step[1] === 'send' ? ['plain', 'send', '', ...step.slice(3)] : step));
  const runs = [run(steps, ALONE), run(steps, ALONE)];
  for (const one of runs) await observer.sees((event) => event.process?.pid === one.pid && toPort(4_713)(event));
  await observer.stop('SIGINT');
  for (const one of runs)
    assert.deepEqual(told(observer.events, one), ['send plain > 127.0.0.1:4712 x1', 'connect last > 127.0.0.1:last']);
});

/** A question as RFC 1035 has it. */
function question(labels: readonly string[], type: number, flags = 0x0100): string {
  const bytes = [0x12, 0x34, flags >> 8, flags & 0xff, 0, 1, 0, 0, 0, 0, 0, 0];
  for (const label of labels) bytes.push(label.length, ...Buffer.from(label, 'latin1'));
  return Buffer.from([...bytes, 0, type >> 8, type & 0xff, 0, 1]).toString('hex');
}

test('names asked of DNS are told with their types, secrets in them masked before anything is recorded', {
  skip: skip || (probed ? false : 'the kernel has no kprobes: names are not seen'),
}, async () => {
  const mark = randomBytes(8).toString('hex');
  const secret = `ghp_${randomBytes(18).toString('hex')}`;
  const observer = await bus.follow('--topic', 'network', '--filter', 'event.type == "network.dns.query"');
  const ask = (socket: string, to: string, labels: readonly string[], type: number, flags?: number): Step => [
    ...[socket, 'ask', '', 53, to],
    question(labels, type, flags),
  ];
  const one = run(
    [
      ['plain', 'open', 'udp4'],
      ['plain6', 'open', 'udp6'],
      ask('plain', '127.0.0.1', [mark, 'Example', 'org'], 1),
      ask('plain', '127.0.0.1', [mark, 'Example', 'org'], 28),
      ask('plain6', '::1', [mark, 'example', 'org'], 65),
      ask('plain6', '::ffff:127.0.0.1', ['a.b c\\', mark], 4_711),
      ask('plain', '127.0.0.1', [], 2),
      ask('plain', '127.0.0.1', ['response', mark], 1, 0x8180),
      ['plain', 'ask', '', 53, '127.0.0.1', Buffer.from('no question at all').toString('hex')],
      ask('plain', '127.0.0.1', [secret, 'example', 'org'], 16),
      ask('plain', '127.0.0.1', ['last', mark], 1),
    ],
    ALONE,
  );
  const last = (event: EventLine) => event.dns?.question?.name === `last.${mark}`;
  const asked = (events: readonly EventLine[]) =>
    events
      .filter(({ type }) => type === 'network.dns.query')
      .map(
        ({ dns, network }) =>
          `${dns?.question?.type} ${dns?.question?.name} ${network!.peer.address}:${network!.peer.port}`,
      );
  const expected = [
    `A ${mark}.Example.org 127.0.0.1:53`,
    `AAAA ${mark}.Example.org 127.0.0.1:53`,
    `HTTPS ${mark}.example.org ::1:53`,
    `TYPE4711 a\\.b\\032c\\\\.${mark} 127.0.0.1:53`,
    'NS . 127.0.0.1:53',
    'TXT ***.example.org 127.0.0.1:53',
    `A last.${mark} 127.0.0.1:53`,
  ];
  const [live = [], history = []] = await both(observer, one, last);
  assert.deepEqual(asked(live), expected);
  assert.deepEqual(asked(history), expected);
  assert.equal(live.find(({ dns }) => dns?.question?.type === 'TXT')?.dns?.redactions, 1);
  const files = readdirSync(bus.dataDir, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  for (const file of files)
    assert.ok(!readFileSync(join(file.parentPath, file.name)).includes(secret), `${file.name} has the secret`);
});

test('datagrams that are sent while no agent is there are told by the next, with what they asked', {
  skip,
}, async () => {
  const mark = randomBytes(8).toString('hex');
  const observer = await bus.follow('--topic', 'network', '--filter', 'network.transport == "udp"');
  // All is switched on when this one is told.
  const before = run([
    ['first', 'open', 'udp4', '127.0.0.1'],
    ['first', 'connect', 'first', '127.0.0.1'],
  ]);
  await observer.sees((event) => event.process?.pid === before.pid && toPort(before.ports['first'])(event));
  const agentPid = await bus.agentPid();
  process.kill(agentPid, 'SIGKILL');
  const one = run(
    [
      ['plain', 'open', 'udp4', '127.0.0.1'],
      ['plain', 'ask', '', 53, '127.0.0.1', question([mark, 'example', 'org'], 1)],
      ['last', 'open', 'udp4', '127.0.0.1', 4_713],
      ['last', 'connect', 'last', '127.0.0.1'],
    ],
    ALONE,
  );
  const [live = [], history = []] = await both(observer, one, toPort(4_713));
  assert.notEqual(await bus.agentPid(), agentPid);
  assert.deepEqual(told(live, one), ['send plain > 127.0.0.1:53 x1', 'connect last > 127.0.0.1:last']);
  assert.deepEqual(told(history, one), told(live, one));
  const asked = live.flatMap(({ dns }) => dns?.question?.name ?? []);
  assert.deepEqual(asked, probed ? [`${mark}.example.org`] : []);
});

test('TCP is told without the profile as with it', { skip }, async () => {
  const other = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'lite' });
  try {
    const observer = await other.follow('--topic', 'network');
    const program = `const net = require('node:net');
      const server = net.createServer((one) => one.end()).listen(0, '127.0.0.1', () =>
        net.connect(server.address().port, '127.0.0.1').resume().on('close', () => server.close()));`;
    const { pid } = spawnSync(process.execPath, ['-e', program]);
    await observer.sees(({ type, process: by }) => by?.pid === pid && type === 'network.tcp.connect');
    await observer.stop('SIGINT');
    assert.ok(!observer.events.some(({ type }) => !type.startsWith('network.tcp.')));
  } finally {
    await other.destroy();
  }
});
