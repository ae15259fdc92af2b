import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Bus, cannotTrace, type EventLine } from './bus.js';

let bus: Bus;
before(async () => {
  if (!cannotTrace) bus = await Bus.start();
});
after(async () => {
  if (!cannotTrace) await bus.destroy();
});

const named = (secret: string) => (event: EventLine) =>
  event.type === 'process.exec' && event.process?.commandArgs?.includes(secret) === true;

/** Lives for long enough that its arguments are read on a busy machine too. */
function run(...args: string[]): void {
  execFileSync('/bin/sh', ['-c', 'sleep 0.2; :', ...args]);
}

test('a program is seen live with its arguments, and found again after a crash', { skip: cannotTrace }, async () => {
  const observer = await bus.follow();
  const word = randomBytes(8).toString('hex');
  const beforeMs = Date.now();
  run(word, 'with space', '');
  const afterMs = Date.now();
  const event = await observer.sees(named(word));
  assert.deepEqual(event.process!.commandArgs, ['/bin/sh', '-c', 'sleep 0.2; :', word, 'with space', '']);
  assert.equal(event.process!.parentPid, process.pid);
  assert.equal(event.process!.user!.id, process.getuid!());
  assert.match(event.process!.executable!.path, /\/(ba|da)?sh$/);
  const atMs = Date.parse(event.time);
  assert.ok(atMs >= beforeMs - 5 && atMs <= afterMs + 5, `${event.time} is not within 5 ms of ${beforeMs}..${afterMs}`);
  assert.equal(event.node, 'node-under-test');
  await observer.stop('SIGINT');

  const agentPid = await bus.agentPid();
  await bus.up.stop('SIGKILL');
  process.kill(agentPid, 'SIGKILL');
  await bus.start();
  const history = bus.observe('--since', '1m', '--topic', 'process');
  assert.equal(await history.exited, 0, history.stderr);
  const found = history.events.filter(named(word));
  assert.equal(found.length, 1, `${history.events.length} events; ${history.stderr}`);
  assert.deepEqual(found[0]!.position, event.position);
  assert.deepEqual(found[0]!.process, event.process);
});

test('a filter is evaluated at the node', { skip: cannotTrace }, async () => {
  const word = randomBytes(8).toString('hex');
  const observer = await bus.follow(
    '--filter',
    `process.command_args.exists(a, a == "${word}" || a == "${word}-end") && event.type == "process.exec"`,
  );
  for (let round = 0; round < 20; round += 1) run(round === 7 ? word : `other-${round}`);
  run(`${word}-end`);
  await observer.sees(named(`${word}-end`));
  assert.equal(observer.events.length, 2);
  assert.ok(named(word)(observer.events[0]!));
  await observer.stop('SIGINT');
});

test("the bus's own connections are left out unless asked for", { skip: cannotTrace }, async () => {
  const port = Number(bus.grpc.split(':')[1]);
  const own = (e: EventLine) => [e.network?.local.port, e.network?.peer.port].includes(port);
  const plain = await bus.follow('--topic', 'network');
  const all = await bus.follow('--topic', 'network', '--include-self');
  // Its connection, and the broker's side of it.
  await bus.observe('--last', '1').exited;
  await all.sees((e) => e.type === 'network.tcp.connect' && own(e));
  const accept = await all.sees((e) => e.type === 'network.tcp.accept' && own(e));
  assert.equal(accept.process?.pid, bus.up.child.pid);
  await plain.stop('SIGINT');
  await all.stop('SIGINT');
  assert.deepEqual(plain.events.filter(own), []);
});

test('TCP connections name both ends and their processes', { skip: cannotTrace }, async () => {
  const observer = await bus.follow('--topic', 'network');
  const script = `
    const net = require('net');
    const server = net.createServer((s) => s.end()).listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1', () => console.log(server.address().port + ' ' + client.localPort));
      client.resume().on('close', () => server.close());
    });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ports = await new Promise<string>((resolve) => child.stdout.once('data', (text) => resolve(String(text))));
  const [serverPort, clientPort] = ports.trim().split(' ').map(Number);
  const connect = await observer.sees((e) => e.type === 'network.tcp.connect' && e.network?.peer.port === serverPort);
  const accept = await observer.sees((e) => e.type === 'network.tcp.accept' && e.network?.peer.port === clientPort);
  await observer.sees((e) => e.type === 'network.tcp.listen' && e.network?.local.port === serverPort);
  await observer.sees((e) => e.type === 'network.tcp.close' && e.network?.local.port === clientPort);
  assert.equal(connect.process!.pid, child.pid);
  assert.equal(accept.process!.pid, child.pid);
  assert.equal(connect.network!.local.port, clientPort);
  assert.equal(accept.network!.local.port, serverPort);
  assert.equal(connect.network!.peer.address, '127.0.0.1');
  await observer.stop('SIGINT');
});
