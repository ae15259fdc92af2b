/**
 * docs/deploying.md as it is written: its commands are run in its order, on machines of their own. `npm run check` does
 * it; each machine takes seconds to begin.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { until } from '../harness/until.js';
import { type Machine, Machines } from './machines.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const missing = [
  'unshare',
  'setpriv',
  'nsenter',
  'ip',
  'systemctl',
  'prometheus',
  'promtool',
  'openssl',
  'curl',
].filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
const skip =
  process.getuid?.() !== 0
    ? 'needs root'
    : missing.length > 0
      ? `needs ${missing.join(', ')}`
      : IS_LONG
        ? false
        : 'takes minutes: npm run check';

/** The document's commands, each block with the machine on which it says they are run. */
function blocksOf(file: string, kind: RegExp) {
  return [...readFileSync(file, 'utf8').matchAll(/^```(.+)\n([\s\S]*?)^```/gm)]
    .filter(([, info = '']) => kind.test(info))
    .map(([, info = '', text = '']) => ({ where: info.split(' ')[1], text }));
}
const BLOCKS = blocksOf('docs/deploying.md', /^sh /);
const [INSTALL = ''] = /^npm install -g .*$/m.exec(BLOCKS[0]!.text) ?? [];

let machines: Machines;
after(() => machines?.remove());

/** Lines of `observe --follow -o json` on the desk, over whatever happens to the broker. */
class Following {
  out = '';
  err = '';
  readonly #child;

  constructor(desk: Machine, command: string) {
    this.#child = desk.start(command);
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
  }

  get ended(): Promise<unknown> {
    return this.#child.exitCode === null ? once(this.#child, 'close') : Promise.resolve();
  }

  stop(): void {
    this.#child.kill('SIGTERM');
  }

  get lines(): readonly string[] {
    return this.out.split('\n').slice(0, -1);
  }

  /** Of these nodes more comes, from now on. */
  async goesOn(...nodes: readonly string[]): Promise<void> {
    const before = this.lines.length;
    await until(
      `events of ${nodes.join(' and ')}`,
      () => nodes.every((node) => this.lines.slice(before).some((line) => line.includes(`"node":"${node}"`))),
      () => [this.lines.length, this.err],
    );
  }
}

/** Of a table, below which more is said of some. */
const nodesIn = (listed: string) => (listed.match(/^(web|db)-\d(?= )/gm) ?? []).sort();

test('the document, command by command', { skip }, async (t) => {
  machines = await Machines.start();
  const [broker, desk, ...nodes] = (await Promise.all(
    ['broker.example', 'desk', 'web-1', 'web-2', 'db-1'].map((name, at) => {
      return machines.machine(name, `10.0.0.${at + 1}`, { 'broker.example': '10.0.0.1' });
    }),
  )) as [Machine, Machine, ...Machine[]];
  install([broker, desk, ...nodes]);
  const [ten, joining, listing, roles, reading, renewal, watching] = BLOCKS.map(({ text }) =>
    text.replace(INSTALL, ''),
  ) as [string, string, string, string, string, string, string];
  assert.deepEqual(
    BLOCKS.map(({ where }) => where),
    ['broker', 'node', 'broker', 'broker', 'desk', 'broker', 'broker'],
  );
  const numbers = [...`${BLOCKS[0]!.text}${joining}`.matchAll(/ # (\d+)/g)].map(([, number]) => Number(number));
  assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 'ten commands');

  const [seventh = ''] = /^backplane certs join-token .*$/m.exec(ten) ?? [];
  await joinAll(broker, nodes, [ten, seventh, joining]);
  await until('all nodes', async () => {
    return nodesIn((await broker.run(listing.replace(/^backplane observe.*$/m, ''))).out).length === 3;
  });
  assert.match((await broker.run(listing)).out, /(web|db)-\d/);

  await broker.run(roles);
  for (const file of ['web-oncall.token', 'certs/ca.crt', 'certs/alice.crt', 'certs/alice.key']) {
    copyFileSync(broker.path(`/etc/backplane/${file}`), desk.path(join('/root', file.split('/').at(-1)!)));
  }
  await sees(desk, reading);
  await refuses(desk, broker);

  const begun = new Date().toISOString();
  const observe = (more: string) =>
    `cd /root; ${/^export .*$/m.exec(reading)![0]}; exec backplane observe ${more} -o json`;
  const following = new Following(desk, observe('--follow --all'));
  await following.goesOn('web-1', 'web-2');
  await t.test('the broker is killed, and nothing is missing or comes twice', async () => {
    await broker.run('systemctl kill --signal=KILL backplane-broker');
    await following.goesOn('web-1', 'web-2');
    const until = timeOf(following.lines.at(-1)!);
    await complete(following, new Following(desk, observe(`--since ${begun} --until ${until} --all`)));
  });
  await t.test('the certificate of the broker is renewed under it, without a break', async () => {
    await renewed(broker, desk, following, renewal);
    await sees(desk, reading);
  });
  await t.test('a node whose key was stolen is revoked, and joins again', () =>
    revoked(broker, nodes[1]!, seventh, joining),
  );
  await t.test('an alert fires when a node goes, and clears when it is back', () =>
    alerts(broker, nodes[0]!, watching),
  );
});

/** The first by the token that the ten commands print, each further one by another. */
async function joinAll(broker: Machine, nodes: readonly Machine[], commands: readonly string[]): Promise<void> {
  const [ten = '', seventh = '', joining = ''] = commands;
  for (const node of nodes) {
    const { name } = node;
    const { out } = await broker.run(name === 'web-1' ? ten : seventh.replace('web-1', name));
    const token = out.trim().split('\n').at(-1)!;
    assert.match(token, /^bpj\./);
    await node.run(joining.replaceAll('web-1', name).replace('TOKEN\n', `${token}\n`));
  }
}

/** What was followed has each event of the past once, of each node from its first to its last. */
async function complete(following: Following, replay: Following): Promise<void> {
  await replay.ended;
  const seen = following.lines;
  assert.equal(new Set(seen).size, seen.length, 'none came twice');
  assert.ok(!seen.some((line) => nodeOf(line) === 'db-1'));
  for (const node of ['web-1', 'web-2']) {
    const times = seen.filter((line) => nodeOf(line) === node).map(timeOf);
    const within = replay.lines.filter((line) => {
      return nodeOf(line) === node && timeOf(line) > times[0]! && timeOf(line) < times.at(-1)!;
    });
    assert.ok(within.length > 0, replay.err);
    const missed = within.filter((line) => !seen.includes(line));
    assert.deepEqual(missed, [], 'none is missing');
  }
}

async function renewed(broker: Machine, desk: Machine, following: Following, renewal: string): Promise<void> {
  const shown = 'openssl s_client -connect broker.example:8484 -CAfile ca.crt < /dev/null 2> /dev/null';
  const serial = async () => (await desk.run(`${shown} | openssl x509 -noout -serial`)).out;
  const [before, lost] = [await serial(), following.err];
  await broker.run(renewal);
  await until('the new certificate', async () => (await serial()) !== before);
  await following.goesOn('web-1', 'web-2');
  assert.equal(following.err, lost, 'the open connection went on');
}

function install(all: readonly Machine[]): void {
  const dir = scratchDirectory('package');
  const { status, stderr } = spawnSync('npm', ['pack', '--silent', '--pack-destination', dir], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const [name = ''] = readdirSync(dir);
  for (const machine of all) {
    machine.write(`/root/${name}`, readFileSync(join(dir, name)));
    machine.fetch(`cd /root; ${INSTALL}`);
    // What the kernel tells is of processes of the machine that they are all on.
    const own = '/etc/systemd/system/backplane-agent.service.d';
    machine.fetch(`mkdir -p ${own}`);
    machine.write(
      `${own}/test.conf`,
      '[Service]\nEnvironment=BACKPLANE_SOURCE=synthetic BACKPLANE_SYNTHETIC_RATE=20\n',
    );
  }
}

/** One namespace of nodes, by the lists, by events of the past, and over HTTP. */
async function sees(desk: Machine, reading: string): Promise<void> {
  const { out } = await desk.run(reading);
  assert.deepEqual([...new Set(nodesIn(out))], ['web-1', 'web-2']);
  const events = /"nodes":(\[.*\])/.exec(out)?.[1];
  assert.deepEqual(
    (JSON.parse(events ?? '[]') as { name: string }[]).map(({ name }) => name),
    ['web-1', 'web-2'],
  );
  assert.match(out, / web-1 /);
  assert.match(out, / web-2 /);
  assert.doesNotMatch(out, /db-1/);
}

/** What a token may not see, and who has none, or another's certificate. */
async function refuses(desk: Machine, broker: Machine): Promise<void> {
  const refused = async (command: string, message: RegExp) => {
    const { out, err } = await desk.run(`{ ${command}; echo "code $?"; } || true`);
    assert.match(out, /^code 2$/m, command);
    assert.match(err, message);
  };
  await refused('backplane observe --node db-1', /token "web-oncall" may not use the node "db-1"/);
  await refused('backplane observe --topic audit', /may not use the topic "audit"/);
  await refused('backplane nodes set-budget web-1 --live-events 1', /no role grants it the verb "manage"/);
  await refused('backplane certs join-token web-9', /no role grants it the verb "join"/);
  await refused('BACKPLANE_TOKEN_FILE= backplane nodes', /no token came/);
  const asAlice = 'BACKPLANE_TOKEN_FILE= BACKPLANE_TLS_CERT=alice.crt BACKPLANE_TLS_KEY=alice.key backplane';
  assert.equal(nodesIn((await desk.run(`${asAlice} nodes`)).out).length, 3);
  await refused(`${asAlice} observe --topic audit`, /may not use the topic "audit"/);
  // The certificate of a node that is of none of the two families.
  await broker.run('backplane certs issue mail-1 --for node');
  for (const file of ['mail-1.crt', 'mail-1.key']) {
    copyFileSync(broker.path(`/etc/backplane/certs/${file}`), desk.path(`/root/${file}`));
  }
  const own = '--node-name mail-1 --tls-ca ca.crt --tls-cert mail-1.crt --tls-key mail-1.key';
  const mail = new Following(
    desk,
    `cd /root; exec backplane agent --source synthetic --data-dir mail --broker broker.example:8484 ${own}`,
  );
  await until(
    'its refusal',
    () => /may not be the node \\"mail-1\\"/.test(mail.err),
    () => mail.err,
  );
  mail.stop();
}

async function revoked(broker: Machine, node: Machine, seventh: string, joining: string): Promise<void> {
  const [{ text = '' } = {}] = blocksOf('docs/access.md', /^yaml$/).filter((block) =>
    block.text.startsWith('revoked:'),
  );
  const [entry = ''] = /^ +- \{ identity: .*\n/m.exec(text) ?? [];
  const before = new Date(Date.now() + 3_000).toISOString();
  const written = entry.replace('web-1', node.name).replace(/before: \S+Z/, `before: ${before}`);
  const rules = broker.read('/etc/backplane/roles.yaml');
  broker.write('/etc/backplane/roles.yaml', `${rules}revoked:\n${written}`);
  const state = async () =>
    new RegExp(`^${node.name} .*`, 'm').exec((await broker.run('backplane nodes')).out)?.[0] ?? '';
  await until(
    'its end',
    async () => / gone /.test(await state()),
    () => broker.read('/etc/backplane/roles.yaml'),
  );
  const told = async () => (await node.run('journalctl -u backplane-agent --no-pager | tail -n 5')).out;
  await until('its word', async () => /the certificate was revoked: join again/.test(await told()), told);
  await sleep(Math.max(0, Date.parse(before) - Date.now()));
  const token = (await broker.run(seventh.replace('web-1', node.name))).out.trim().split('\n').at(-1)!;
  await node.run('systemctl stop backplane-agent; rm -r /var/lib/backplane-agent/tls');
  await node.run(joining.replaceAll('web-1', node.name).replace('TOKEN\n', `${token}\n`));
  await until('its return', async () => / (connected|degraded) /.test(await state()), state);
}

async function alerts(broker: Machine, node: Machine, watching: string): Promise<void> {
  await broker.run(watching);
  const prometheus = broker.start('cd /etc/backplane/prometheus; exec prometheus --config.file=prometheus.yaml');
  let log = '';
  prometheus.stderr!.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-4_000);
  });
  const [query = ''] =
    /promtool query instant [^`]+'/.exec(readFileSync('docs/deploying.md', 'utf8').replaceAll('\n', ' ')) ?? [];
  const firing = async () => /alertstate="firing"/.test((await broker.run(`${query} || true`)).out);
  await until(
    'a look at the broker',
    async () => {
      return /=> 1 @/.test((await broker.run("promtool query instant http://localhost:9090 'up' || true")).out);
    },
    () => log,
  );
  assert.equal(await firing(), false);
  await node.run('systemctl stop backplane-agent');
  // It waits for a minute, and Prometheus looks every 15 s.
  const beganMs = Date.now();
  const halfMinutes = () => Math.min(8, Math.floor((Date.now() - beganMs) / 30_000));
  await until('the alert', firing, halfMinutes);
  await node.run('systemctl start backplane-agent');
  await until('its end', async () => !(await firing()), halfMinutes);
}

function nodeOf(line: string): string {
  return (JSON.parse(line) as { node: string }).node;
}

function timeOf(line: string): string {
  return (JSON.parse(line) as { time: string }).time;
}
