/**
 * `npm run test:busy -- [RUNS] [PATH...]`: the tests, so many times in a row (default: once), beside what a machine in
 * use does to them: a busy loop per core, short programs, signals to process groups, TCP connections on loopback.
 */
import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import os from 'node:os';
import { fileURLToPath } from 'node:url';

const TEST = fileURLToPath(new URL('./test.js', import.meta.url));
/** `kill` and `/bin/true` of a shell of its own, whose process group is signalled. */
const SHORT_PROGRAMS = `while kill -0 ${process.pid}; do /bin/true; kill -0 -$$; done`;
const BUSY = `while kill -0 ${process.pid}; do i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; done`;

const OWN_GROUP = "import os, sys; os.setpgid(0, 0); os.execvp('sh', ['sh', '-c', sys.argv[1]])";

/** More at once than the loads: beside as many as there are usually, most of the machine would be theirs. */
const CONCURRENCY = '--test-concurrency=8';

const [first = '', ...rest] = process.argv.slice(2);
const runs = /^\d+$/.test(first) ? Number(first) : 1;
const paths = /^\d+$/.test(first) || first === '' ? rest : [first, ...rest];

// Groups of their own, so that each shell signals its own; they end when this process does, however that ends. Not
// sessions of their own: where the scheduler shares by session, each loop would have as much of the machine as all tests.
const loads = [SHORT_PROGRAMS, ...os.cpus().map(() => BUSY)].map((script) =>
  spawn('python3', ['-c', OWN_GROUP, script], { stdio: 'ignore' }),
);
const server = createServer((socket) => socket.on('error', () => {}).end()).listen(0, '127.0.0.1', connectAgain);
process.on('exit', () => {
  for (const load of loads) load.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

function connectAgain() {
  const { port } = server.address();
  connect(port, '127.0.0.1')
    .on('error', () => {})
    .on('close', () => setImmediate(connectAgain))
    .resume();
}

let failed = 0;
for (let run = 1; run <= runs; run += 1) {
  const began = performance.now();
  const code = await new Promise((resolve) =>
    spawn(process.execPath, [TEST, CONCURRENCY, ...paths], { stdio: 'inherit' }).on('close', resolve),
  );
  if (code !== 0) failed += 1;
  console.log(
    `# busy run ${run} of ${runs}: ${code === 0 ? 'passed' : 'FAILED'} after ${Math.round((performance.now() - began) / 1000)} s`,
  );
}
process.exit(failed === 0 ? 0 : 1);
