/**
 * The recipe of docs/cluster.md as it is written: its certificates, configurations of servers, settings and commands, on addresses
 * and in folders of this machine. `npm run check` does it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MAIN } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { type ServerFile, startServers } from '../harness/nats/configured-servers.js';
import { needsNats } from '../harness/nats/nats-package.js';
import { ownAddress } from '../harness/own-address.js';
import { runs } from '../harness/runs.js';
import { settled, until } from '../harness/until.js';

const skip = needsNats() || (runs(1) > 1 ? false : 'takes seconds: npm run check');
const [, RECIPE = ''] = readFileSync('docs/cluster.md', 'utf8')
  .split(/^## /m)
  .filter((part) => /^(# Brokers|Two)/.test(part));
const BLOCKS = [...RECIPE.matchAll(/^```\n([\s\S]*?)^```/gm)].map(([, text = '']) => text);
const MACHINES = [1, 2, 3];

/** What stands in the document, and what it is here. */
type Places = readonly (readonly [there: string, here: string])[];

async function places(dir: string): Promise<Places> {
  const own = async (host: string) => `${host}:${(await ownAddress()).split(':')[1]}`;
  const found: (readonly [string, string])[] = [];
  const hosts: (readonly [string, string])[] = [];
  for (const machine of MACHINES) {
    const host = (await ownAddress()).split(':')[0]!;
    for (const port of [4222, 6222, 8222]) found.push([`10.0.0.${machine}:${port}`, await own(host)]);
    hosts.push([`10.0.0.${machine}`, host]);
  }
  const host = hosts[0]![1];
  for (const port of [8484, 8485]) found.push([`0.0.0.0:${port}`, await own(host)]);
  // Addresses without a port come last: the others begin with them.
  return [...found, ...hosts, ['/etc/backplane', join(dir, 'etc')]];
}

const here = (text: string, placed: Places) => placed.reduce((so, [from, to]) => so.replaceAll(from, to), text);

/** The configuration of another machine: its own address in place of the first one's, and that one among the routes. */
function ofMachine(configuration: string, machine: number): string {
  const swapped = configuration.replace(/10\.0\.0\.(\d)/g, (whole, at) => {
    if (Number(at) === 1) return `10.0.0.${machine}`;
    return Number(at) === machine ? '10.0.0.1' : whole;
  });
  return swapped.replace('nats-1', `nats-${machine}`);
}

/** Runs commands as the document has them, with `backplane` on their path. */
function shellIn(dir: string, placed: Places) {
  for (const folder of ['etc', 'bin']) mkdirSync(join(dir, folder));
  writeFileSync(join(dir, 'bin/backplane'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o755 });
  const env = { HOME: dir, BACKPLANE_DATA_DIR: join(dir, 'data'), PATH: `${dir}/bin:${process.env.PATH}` };
  return (text: string) => {
    const child = spawn('sh', ['-ec', here(text, placed)], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (more: string) => {
      said.out += more;
    });
    child.stderr.setEncoding('utf8').on('data', (more: string) => {
      said.err += more;
    });
    const over = once(child, 'close').then(([code]) => ({ code, ...said }));
    return { child, said, over };
  };
}

test('the recipe, block by block', { skip }, async (t) => {
  assert.equal(BLOCKS.length, 4, 'certificates, a configuration, settings, commands');
  const [certificates, configuration, settings, commands] = BLOCKS as [string, string, string, string];
  const dir = scratchDirectory('recipe');
  const placed = await places(dir);
  const shell = shellIn(dir, placed);

  const made = await shell(certificates).over;
  assert.equal(made.code, 0, made.err);
  const servers: ServerFile[] = MACHINES.map((machine) => {
    const file = join(dir, `nats-${machine}.conf`);
    const text = here(ofMachine(configuration, machine), placed);
    writeFileSync(file, text.replace('/var/lib/nats', join(dir, `nats-${machine}`)));
    return { file, monitor: here(`10.0.0.${machine}:8222`, placed) };
  });
  t.after(await startServers(servers, join(dir, 'etc/certs/ca.crt')));

  writeFileSync(join(dir, 'etc/broker.env'), here(settings, placed));
  const initialised = await shell(commands).over;
  assert.match(initialised.out, /^cluster prod is made$/m, initialised.err);
  // Right after that not all replicas are current yet.
  const [load = ''] = commands.split('\n');
  let checked = initialised;
  await until(
    'all is as it must be',
    async () => {
      checked = await shell(`${load}\nbackplane cluster check`).over;
      return checked.code === 0;
    },
    () => checked,
  );
  assert.match(checked.out, /^durability: always$/m);
  assert.equal(checked.out.match(/^nats-server at .*: [\d.]+$/gm)?.length, 3, checked.out);
  assert.equal(
    checked.out.match(/^store at .*: streams may take 6\.8 GiB of 16\.0 GiB, 42 %$/gm)?.length,
    3,
    checked.out,
  );

  // The servers tell each other's addresses to whom they refuse, too.
  const identity = ['crt', 'key']
    .map((end) => `BACKPLANE_NATS_${end === 'crt' ? 'CERT' : 'KEY'}=certs/stranger.${end}`)
    .join(' ');
  const strange = shell(
    `${load}\ncd /etc/backplane\nbackplane certs issue stranger\n${identity} backplane cluster check`,
  );
  const refused = await settled('it is refused', strange.over, () => strange.said);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /^backplane: nats: none of .* can be used: Authorization Violation.*\n$/);

  const broker = shell(`${load}\nexec backplane broker`);
  try {
    await until(
      'the broker',
      () => {
        assert.equal(broker.child.exitCode, null, broker.said.err);
        return /^listening on/m.test(broker.said.out);
      },
      () => broker.said,
    );
  } finally {
    broker.child.kill('SIGTERM');
  }
  assert.equal((await broker.over).code, 0, broker.said.err);
});
