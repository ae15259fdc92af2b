/** Programs and connections of the real kernel, seen live and in history. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { basename } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Bus, Command, cannotTrace, type EventLine } from '../../harness/bus/bus.js';
import { runSeen } from '../../harness/bus/program.js';
import { firstLine } from '../../harness/first-line.js';
import { ownAddress } from '../../harness/own-address.js';
import { settled, until } from '../../harness/until.js';

let bus: Bus;
before(async () => {
  if (!cannotTrace) bus = await Bus.start();
});
after(async () => {
  if (!cannotTrace) await bus.destroy();
});

const withArgument = (secret: string) => (event: EventLine) =>
  event.type === 'process.exec' && event.process?.commandArgs?.includes(secret) === true;

test('a program is seen live with its arguments, and found again after a crash', { skip: cannotTrace }, async () => {
  // What is shown by default has the connections of all others, too, which may be more than a node may tell of.
  const observer = await bus.follow('--filter', 'event.type == "process.exec"');
  const word = randomBytes(8).toString('hex');
  const beforeMs = Date.now();
  const event = await runSeen(observer, word, 'with space', '');
  const afterMs = Date.now();
  assert.deepEqual(event.process!.commandArgs, ['/bin/sh', '-c', 'read line', word, 'with space', '']);
  assert.equal(event.process!.user!.id, process.getuid!());
  assert.match(event.process!.executable!.path, /\/(ba|da)?sh$/);
  // Two clocks were read one after the other to set one by the other, with any pause between.
  const atMs = Date.parse(event.time);
  assert.ok(atMs >= beforeMs - 1_000 && atMs <= afterMs + 1_000, `${event.time} is not within ${beforeMs}..${afterMs}`);
  assert.equal(event.node, 'node-under-test');
  await observer.stop('SIGINT');

  const agentPid = await bus.agentPid();
  await bus.up.stop('SIGKILL');
  process.kill(agentPid, 'SIGKILL');
  await bus.start();
  const history = bus.observe('--since', '1h', '--topic', 'process');
  assert.equal(await history.exited, 0, history.stderr);
  const found = history.events.filter(({ position }) => isDeepStrictEqual(position, event.position));
  assert.equal(found.length, 1, `${history.events.length} events; ${history.stderr}`);
  assert.deepEqual(found[0]!.process, event.process);
});

/** Goes on as a shell that is in memory only, where no file is. */
const FROM_MEMORY = `
import os, sys
fd = os.memfd_create('nowhere')
with open('/bin/sh', 'rb') as file: os.write(fd, file.read())
os.execve('/proc/self/fd/%d' % fd, sys.argv[1:], {})
`;

test('what costs to find comes where it is named, live as in history, and to nobody else', {
  skip: cannotTrace,
}, async () => {
  const exec = 'event.type == "process.exec" && "nowhere-in-a-file" in process.command_args';
  const names = ['pid', 'command_line', 'ancestors', 'executable', 'executable.deleted', 'user.name'];
  const fields = [...names, 'parent.command_args', 'parent.creation_time'].map((name) => `process.${name}`).join();
  const plain = await bus.follow('--filter', exec);
  const named = await bus.follow('--filter', exec, '--field-mask', fields);
  const filtered = await bus.follow('--filter', `${exec} && process.executable.deleted && size(process.ancestors) > 0`);
  const args = ['sh', '-c', 'read line', randomBytes(8).toString('hex'), 'nowhere-in-a-file'];
  let found: EventLine['process'];
  // Where an agent has more to look up than it may, it does not look.
  while (found?.executable?.deleted !== true) {
    const memory = spawn('python3', ['-c', FROM_MEMORY, ...args], { stdio: ['pipe', 'ignore', 'ignore'] });
    const isIt = ({ process: one }: EventLine) => one?.pid === memory.pid && one?.commandLine === args.join(' ');
    ({ process: found } = await named.sees(isIt));
    memory.kill();
    await once(memory, 'close');
  }
  assert.deepEqual(found.executable, { path: '/memfd:nowhere', name: 'memfd:nowhere', deleted: true });
  assert.equal(found.user!.name, 'root');
  assert.equal(found.ancestors![0], basename(process.execPath));
  assert.ok(found.parent!.commandArgs!.some((arg) => process.argv.includes(arg)));
  assert.ok(Date.parse(found.parent!.creationTime!) < Date.now());
  const isIts = ({ process: one }: EventLine) => one?.pid === found.pid && isDeepStrictEqual(one.commandArgs, args);
  await filtered.sees(isIts);
  const { ancestors, commandLine, executable, user, parent } = (await plain.sees(isIts)).process!;
  assert.deepEqual([ancestors, commandLine, executable!.deleted, user!.name], new Array(4).fill(undefined));
  assert.deepEqual([parent!.pid, parent!.commandArgs, parent!.creationTime], [process.pid, undefined, undefined]);
  for (const observer of [plain, named, filtered]) await observer.stop('SIGINT');
  const history = bus.observe('--since', '10m', '--filter', exec, '--field-mask', fields);
  assert.equal(await history.exited, 0, history.stderr);
  const again = history.events.filter(({ process: one }) => one?.pid === found.pid && one.executable?.deleted);
  assert.deepEqual(
    again.map((event) => event.process),
    [found],
  );
});

test('the plan says how arguments of programs are had', { skip: cannotTrace }, async () => {
  await until('that the node has reported it', async () => {
    const plan = new Command(['observe', '--topic', 'process', '--print-plan'], { BACKPLANE_BROKERS: bus.grpc });
    assert.equal(await plan.exited, 0, plan.stderr);
    return /arguments\s+of\s+programs\s+on\s+node-under-test:\s+(as\s+the\s+kernel|looked\s+up)/.test(plan.stdout);
  });
});

test('a filter is evaluated at the node', { skip: cannotTrace }, async () => {
  const word = randomBytes(8).toString('hex');
  const observer = await bus.follow(
    '--filter',
    `process.command_args.exists(a, a == "${word}" || a == "${word}-end") && event.type == "process.exec"`,
  );
  // Sees everything, so that it is known when a program's arguments were read.
  const all = await bus.follow('--filter', 'event.type == "process.exec"');
  for (let round = 0; round < 8; round += 1) await runSeen(all, round === 5 ? word : `other-${round}`);
  await runSeen(all, `${word}-end`);
  await observer.sees(withArgument(`${word}-end`));
  assert.equal(observer.events.length, 2);
  assert.ok(withArgument(word)(observer.events[0]!));
  await observer.stop('SIGINT');
  await all.stop('SIGINT');
});

/** Others may make more connections than a node may tell of. */
const NOT_OF_OTHERS = 'network.local.address != "127.0.0.1" || network.peer.address != "127.0.0.1"';

test('connections of the bus itself are left out unless asked for', { skip: cannotTrace }, async () => {
  const own = ({ network }: EventLine) => [network?.local, network?.peer].some((end) => endOf(end) === bus.grpc);
  const port = bus.grpc.split(':')[1];
  const about = `network.local.port == ${port} || network.peer.port == ${port} || ${NOT_OF_OTHERS}`;
  const plain = await bus.follow('--topic', 'network', '--filter', about);
  const all = await bus.follow('--topic', 'network', '--include-self', '--filter', about);
  // The connection of the observer, seen from both of its ends.
  await bus.observe('--last', '1').exited;
  await all.sees((e) => e.type === 'network.tcp.connect' && own(e));
  const accept = await all.sees((e) => e.type === 'network.tcp.accept' && own(e));
  assert.equal(accept.process?.pid, bus.up.child.pid);
  // What plain has, when it has this later connection, is all that it gets of the earlier ones.
  const ends = await connected();
  await plain.sees((e) => e.type === 'network.tcp.connect' && isConnection(e, ends));
  await plain.stop('SIGINT');
  await all.stop('SIGINT');
  assert.deepEqual(plain.events.filter(own), []);
});

test('TCP connections name both ends and their processes', { skip: cannotTrace }, async () => {
  const observer = await bus.follow('--topic', 'network', '--filter', NOT_OF_OTHERS);
  const ends = await connected();
  const connect = await observer.sees((e) => e.type === 'network.tcp.connect' && isConnection(e, ends));
  const accept = await observer.sees((e) => e.type === 'network.tcp.accept' && isConnection(e, ends, 'server'));
  await observer.sees((e) => e.type === 'network.tcp.listen' && endOf(e.network?.local) === ends.server);
  await observer.sees((e) => e.type === 'network.tcp.close' && isConnection(e, ends));
  assert.equal(connect.process!.pid, ends.pid);
  assert.equal(accept.process!.pid, ends.pid);
  await observer.stop('SIGINT');
});

interface Ends {
  readonly pid: number;
  readonly server: string;
  readonly client: string;
}

/** A process connects to itself, at an address that nobody else has. */
async function connected(): Promise<Ends> {
  const server = await ownAddress();
  const [host, port] = server.split(':');
  const script = `
    const server = require('net').createServer((s) => s.end()).listen(${port}, '${host}', () => {
      const client = require('net').connect(${port}, '${host}', () => console.log(client.localAddress + ':' + client.localPort));
      client.resume().on('close', () => server.close());
    });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  return { pid: child.pid!, server, client: await settled('a connection', firstLine(child.stdout)) };
}

function isConnection({ network }: EventLine, { server, client }: Ends, side: 'client' | 'server' = 'client'): boolean {
  const [local, peer] = side === 'client' ? [client, server] : [server, client];
  return endOf(network?.local) === local && endOf(network?.peer) === peer;
}

function endOf(end: { readonly address: string; readonly port: number } | undefined): string {
  return `${end?.address}:${end?.port}`;
}
