/** Whose a TCP connection is: the process that it is of, or nobody, and never another. */
import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { Bus, cannotTrace, type EventLine } from '../../harness/bus/bus.js';
import { ownAddress } from '../../harness/own-address.js';
import { until } from '../../harness/until.js';

/** Python, because it starts soon and forks. Prints `listens PID`, then `PID took PORT` for each connection it accepts. */
const SERVER = `
import os, socket, sys
host, port, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if what == 'shared': server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind((host, port))
server.listen(1000)
if what == 'left' and os.fork() != 0: os._exit(0)
print('listens', os.getpid(), flush=True)
while True:
    connection, peer = server.accept()
    print(os.getpid(), 'took', peer[1], flush=True)
    connection.close()
`;

/** Makes connections one after the other, each until the other side closes it; prints `PID made PORT`. */
const CLIENT = `
import os, socket, sys
for _ in range(int(sys.argv[3])):
    client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    print(os.getpid(), 'made', client.getsockname()[1], flush=True)
    client.recv(1)
    client.close()
`;

const SELF = `
import os, socket, sys
both = socket.socket()
both.bind((sys.argv[1], int(sys.argv[2])))
both.connect((sys.argv[1], int(sys.argv[2])))
print(os.getpid(), 'made', sys.argv[2], flush=True)
both.close()
`;

const REFUSED = `
import os, socket, sys
try: socket.create_connection((sys.argv[1], int(sys.argv[2])))
except ConnectionRefusedError: print(os.getpid(), 'refused', flush=True)
`;

class Program {
  readonly lines: string[] = [];
  readonly child: ChildProcessWithoutNullStreams;

  /** @param namespace a network namespace of its own */
  constructor(script: string, args: readonly (string | number)[], namespace = false) {
    const command = ['python3', '-c', script, ...args.map(String)];
    const inside = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...command];
    const [file = '', ...rest] = namespace ? inside : command;
    this.child = spawn(file, rest);
    createInterface({ input: this.child.stdout }).on('line', (line) => this.lines.push(line));
    programs.push(this);
  }

  /** The numbers of the first lines with this word. */
  async says(word: string, count = 1): Promise<number[][]> {
    const found = () => this.lines.filter((line) => line.includes(word));
    await until(
      word,
      () => found().length >= count,
      () => this.lines,
    );
    return found().map((line) => line.match(/\d+/g)!.map(Number));
  }
}

const programs: Program[] = [];
const listening = async (host: string, port: number, what = 'plain', namespace = false) => {
  const program = new Program(SERVER, [host, port, what], namespace);
  const [[pid]] = (await program.says('listens')) as [[number]];
  return { program, pid };
};

let bus: Bus;
let older: { readonly program: Program; readonly pid: number };
let olderAt: readonly [string, number];

before(async () => {
  if (cannotTrace) return;
  olderAt = await place();
  older = await listening(...olderAt);
  bus = await Bus.start();
});
after(async () => {
  if (cannotTrace) return;
  for (const { child } of programs) child.kill('SIGKILL');
  await bus.destroy();
});

async function place(): Promise<readonly [string, number]> {
  const [host = '', port = ''] = (await ownAddress()).split(':');
  return [host, Number(port)];
}

const at = (type: string, host: string, local: number, peer?: number) => (event: EventLine) =>
  event.type === `network.tcp.${type}` &&
  event.network?.local.address === host &&
  event.network.local.port === local &&
  (peer === undefined || event.network.peer.port === peer);

/** Only what is here is asked for: others may make more connections than a node may tell of. */
const follow = (host: string) => {
  const filter = `network.local.address == "${host}" || network.peer.address == "${host}"`;
  return bus.follow('--topic', 'network', '--filter', filter);
};

test('who listened before the agent was there is named', { skip: cannotTrace }, async () => {
  const observer = await follow(olderAt[0]);
  const client = new Program(CLIENT, [...olderAt, 1]);
  const [[, port]] = (await client.says('made')) as [[number, number]];
  const accept = await observer.sees(at('accept', ...olderAt, port));
  assert.equal(accept.process?.pid, older.pid);
  await observer.stop('SIGINT');
});

test('of many connections that one process accepts each is named', { skip: cannotTrace }, async () => {
  const [host, port] = await place();
  const observer = await follow(host);
  const { pid } = await listening(host, port);
  const count = 200;
  new Program(CLIENT, [host, port, count]);
  const accepts = () => observer.events.filter(at('accept', host, port));
  const closes = () => observer.events.filter(at('close', host, port));
  await until(
    'all of them',
    () => accepts().length >= count && closes().length >= count,
    () => [accepts().length, closes().length],
  );
  assert.deepEqual(new Set([...accepts(), ...closes()].map((event) => event.process?.pid)), new Set([pid]));
  await observer.stop('SIGINT');
});

/** Accepts have the right process or none, and closes the right one. */
async function rightOrNone(
  observer: Awaited<ReturnType<Bus['follow']>>,
  host: string,
  port: number,
  truth: Map<number, number>,
) {
  const of = (type: string) => [...truth.keys()].map((peer) => observer.events.find(at(type, host, port, peer)));
  await until(
    'all of them',
    () => [...of('accept'), ...of('close')].every((event) => event !== undefined),
    () => [...of('accept'), ...of('close')].filter((event) => event === undefined).length,
  );
  for (const event of of('accept'))
    assert.ok([undefined, truth.get(event!.network!.peer.port)].includes(event!.process?.pid));
  for (const event of of('close')) assert.equal(event!.process?.pid, truth.get(event!.network!.peer.port));
}

test('of two that share a port the one that took a connection is named, or nobody', { skip: cannotTrace }, async () => {
  const [host, port] = await place();
  const observer = await follow(host);
  const servers = [await listening(host, port, 'shared'), await listening(host, port, 'shared')];
  const client = new Program(CLIENT, [host, port, 40]);
  await client.says('made', 40);
  const took = () => servers.flatMap(({ program }) => program.lines.filter((line) => line.includes('took')));
  await until(
    'that all were taken',
    () => took().length === 40,
    () => took().length,
  );
  const truth = new Map(took().map((line) => line.match(/\d+/g)!.map(Number).reverse() as [number, number]));
  await rightOrNone(observer, host, port, truth);
  await observer.stop('SIGINT');
});

test('of two on one port in two network namespaces the right one is named, or nobody', {
  skip: cannotTrace || (spawnSync('unshare', ['--net', 'true']).status === 0 ? false : 'needs network namespaces'),
}, async () => {
  const [host, port] = await place();
  const observer = await follow(host);
  const first = await listening(host, port, 'plain', true);
  await listening(host, port, 'plain', true);
  const inside = ['--net', '--target', String(first.pid), 'python3', '-c', CLIENT, host, String(port), '20'];
  assert.equal(spawnSync('nsenter', inside).status, 0);
  const truth = new Map((await first.program.says('took', 20)).map(([pid, peer]) => [peer!, pid!]));
  await rightOrNone(observer, host, port, truth);
  await observer.stop('SIGINT');
});

test('when who listened has ended, who accepts is named', { skip: cannotTrace }, async () => {
  const [host, port] = await place();
  const observer = await follow(host);
  const { program, pid } = await listening(host, port, 'left');
  await new Promise((done) => (program.child.exitCode === null ? program.child.on('exit', done) : done(undefined)));
  const client = new Program(CLIENT, [host, port, 1]);
  const [[, peer]] = (await client.says('made')) as [[number, number]];
  const accept = await observer.sees(at('accept', host, port, peer));
  const close = await observer.sees(at('close', host, port, peer));
  assert.deepEqual([accept.process?.pid, close.process?.pid], [pid, pid]);
  process.kill(pid, 'SIGKILL');
  await observer.stop('SIGINT');
});

test('a socket that connects to itself is one connect', { skip: cannotTrace }, async () => {
  const [host, port] = await place();
  const observer = await follow(host);
  const program = new Program(SELF, [host, port]);
  const [[pid]] = (await program.says('made')) as [[number]];
  await observer.sees(at('close', host, port, port));
  // That the address is nobody's was tried by listening there.
  const seen = observer.events.filter(
    ({ type, network }) => !type.endsWith('.listen') && network?.local.address === host && network.local.port === port,
  );
  assert.deepEqual(
    seen.map((event) => [event.type, event.process?.pid]),
    [
      ['network.tcp.connect', pid],
      ['network.tcp.close', pid],
    ],
  );
  await observer.stop('SIGINT');
});

test('a connection that is refused is a connect that failed', { skip: cannotTrace }, async () => {
  const [host, port] = await place();
  const observer = await follow(host);
  const program = new Program(REFUSED, [host, port]);
  const [[pid]] = (await program.says('refused')) as [[number]];
  const failed = await observer.sees(
    ({ network }) => network?.failed === true && network.peer.address === host && network.peer.port === port,
  );
  assert.deepEqual([failed.type, failed.process?.pid, failed.network?.failed], ['network.tcp.connect', pid, true]);
  await observer.stop('SIGINT');
});
