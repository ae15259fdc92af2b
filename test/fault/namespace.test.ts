/** The links of network namespaces do what faults ask of them, and nothing stays behind, whatever ends the process. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Namespace, refused } from '../harness/cluster/namespace.js';
import { firstLine } from '../harness/first-line.js';
import { until } from '../harness/until.js';

const skip = refused().namespaces ?? false;
const DRIVER = new URL('../harness/cluster/driver.js', import.meta.url).href;
const MODULE = new URL('../harness/cluster/namespace.js', import.meta.url).href;
const ECHO = 'const s = require("net").connect(+process.argv[2], process.argv[1]); s.pipe(s)';

/** Runs with a connection to a process in the namespace that sends back what it is sent. */
async function withEcho(run: (namespace: Namespace, echo: Socket) => Promise<void>): Promise<void> {
  const namespace = Namespace.create();
  const server = createServer();
  let child: ChildProcess | undefined;
  try {
    server.listen(0, namespace.hostAddress);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const [command, ...args] = [...namespace.enter, process.execPath, '-e', ECHO, namespace.hostAddress, String(port)];
    child = spawn(command!, args, { stdio: 'inherit' });
    const [echo] = (await once(server, 'connection')) as [Socket];
    assert.equal(echo.remoteAddress, namespace.partyAddress);
    echo.on('error', () => undefined);
    await run(namespace, echo);
    echo.destroy();
  } finally {
    child?.kill('SIGKILL');
    server.close();
    namespace.remove();
  }
}

async function read(socket: Socket, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let had = 0; had < bytes; had += parts.at(-1)!.length) parts.push((await once(socket, 'data'))[0] as Buffer);
  return Buffer.concat(parts);
}

test('a link that is down passes no bytes, and all of them once it is up again', { skip }, () =>
  withEcho(async (namespace, echo) => {
    echo.write('before');
    assert.equal(String(await read(echo, 6)), 'before');
    namespace.down();
    echo.write('during');
    const during = read(echo, 6);
    assert.equal(await Promise.race([during, sleep(700, 'nothing')]), 'nothing');
    namespace.up();
    assert.equal(String(await during), 'during');
  }),
);

test(
  'a narrow link delays bytes in both directions until it is widened',
  { skip: skip || (refused().rates ?? false) },
  () =>
    withEcho(async (namespace, echo) => {
      const queues = (...at: string[]) =>
        (
          JSON.parse(execFileSync('tc', ['-j', '-s', ...at], { encoding: 'utf8' })) as {
            kind: string;
            overlimits: number;
          }[]
        ).find(({ kind }) => kind === 'tbf')?.overlimits;
      const both = () => [
        queues('qdisc', 'show', 'dev', namespace.name),
        queues('-n', namespace.name, 'qdisc', 'show', 'dev', 'eth0'),
      ];
      namespace.narrow(2_000);
      const sent = Buffer.alloc(200_000, 'backplane');
      echo.write(sent);
      assert.ok(sent.equals(await read(echo, sent.length)));
      for (const overlimits of both()) assert.ok(overlimits! > 0, `${both()}`);
      namespace.widen();
      assert.deepEqual(both(), [undefined, undefined]);
      echo.write(sent);
      assert.ok(sent.equals(await read(echo, sent.length)));
    }),
);

/** Another process, until its first line. */
async function started(program: string): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return { child, line: await firstLine(child.stdout!) };
}

/** Of a test process: namespaces and links. */
const of = (pid: number) =>
  ['/run/netns', '/sys/class/net'].flatMap((dir) => readdirSync(dir).filter((name) => name.startsWith(`bp${pid}-`)));

test('the namespace that a killed process left is removed by the next run, with the processes in it', {
  skip,
}, async () => {
  const { child, line } = await started(`
    import { spawn } from 'node:child_process';
    import { Namespace } from '${MODULE}';
    const [command, ...args] = [...Namespace.create().enter, 'sleep', '600'];
    console.log(spawn(command, args, { stdio: 'ignore' }).pid);
    setInterval(() => undefined, 1000);`);
  const sleeper = Number(line);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(of(child.pid!).length, 2);
  const next = await started(`import { refused } from '${MODULE}'; refused(); console.log('done');`);
  assert.equal(next.line, 'done');
  assert.deepEqual(of(child.pid!), []);
  await until('the end of who was in it', () => !existsSync(`/proc/${sleeper}`));
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} ends a cluster with all its processes`, { skip }, async () => {
    const { child, line } = await started(`
      import { Cluster } from '${DRIVER}';
      const cluster = await Cluster.start({}, true);
      await cluster.agent({ name: 'alpha', nodes: 1, eventsPerSecond: 100 });
      await cluster.subscribe('all', { args: [] });
      console.log(JSON.stringify([cluster.dir, cluster.parties.map(({ pid }) => pid)]));`);
    const [dir, pids] = JSON.parse(line) as [string, number[]];
    assert.equal(of(child.pid!).length, 4);
    child.kill(signal);
    const [code] = await once(child, 'exit');
    assert.equal(code, signal === 'SIGINT' ? 130 : 143);
    assert.deepEqual(of(child.pid!), []);
    assert.ok(!existsSync(dir));
    await until('the end of all', () => !pids.some((pid) => existsSync(`/proc/${pid}`)));
  });
}
