/** `npm run cluster`, as the README says it: what it prints is what to type, and when it ends nothing is left of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { nodeFileOps } from '../../src/storage/file-ops.js';
import { readIdentity } from '../../src/storage/identity.js';
import { command, run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { needsNats } from '../harness/nats/nats-package.js';
import { ownAddress } from '../harness/own-address.js';
import { until } from '../harness/until.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const skip = needsNats() || (!IS_LONG && 'takes seconds: npm run check');

test('npm run cluster', { skip }, async () => {
  const [host] = (await ownAddress()).split(':');
  const dir = join(scratchDirectory('plain'), 'cluster');
  const program = fileURLToPath(new URL('run.js', import.meta.url));
  const child = spawn(process.execPath, [program, '--host', host!, '--dir', dir], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let recorder = 'none';
  for (const output of [child.stdout, child.stderr])
    output.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  try {
    await until(
      'it says what to type',
      () => {
        assert.equal(child.exitCode, null, said);
        return said.includes('Ctrl-C ends');
      },
      () => said + logs(dir),
    );
    const environment = { BACKPLANE_CONFIG: /export BACKPLANE_CONFIG=(\S+)/.exec(said)![1]! };
    const status = (await run(['status'], environment)).out;
    assert.match(status, /^durability: +always$/m);
    assert.equal(status.match(/^broker: /gm)?.length, 2, status);
    const observe = command(['observe', '--follow', '--limit', '5', '-o', 'json'], environment);
    recorder = readIdentity(nodeFileOps, join(dir, 'agent', 'recorder'))!
      .identity.toString(16)
      .padStart(16, '0');
    const { code, out, err } = await observe.done;
    assert.equal(code, 0, err);
    assert.equal(out.trim().split('\n').length, 5);
  } finally {
    child.kill('SIGINT');
    if (child.exitCode === null) await once(child, 'close');
  }
  assert.equal(child.exitCode, 0, said);
  assert.equal(existsSync(dir), false);
  assert.deepEqual(processesOf(dir), []);
  assert.deepEqual(
    traceInstances().filter((name) => name.includes(recorder)),
    [],
  );
});

function logs(dir: string): string {
  if (!existsSync(dir)) return '';
  const files = readdirSync(dir).filter((name) => name.endsWith('.log'));
  return files.map((name) => `\n${name}: ${readFileSync(join(dir, name), 'utf8').slice(-500)}`).join('');
}

function traceInstances(): string[] {
  const folder = '/sys/kernel/tracing/instances';
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Command lines that name the directory. */
function processesOf(dir: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(dir));
}
