/** What deploy/ has for Prometheus and Grafana, held to the real Prometheus with a real broker under load. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Bus, Command } from '../harness/bus/bus.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { until } from '../harness/until.js';

const missing =
  spawnSync('promtool', ['--version']).status === 0 ? false : 'needs prometheus and promtool (package prometheus)';
const RULES = 'deploy/prometheus/backplane.rules.yaml';

after(() => Command.killAll());

function promtool(args: readonly string[], input = ''): void {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  assert.equal(status, 0, `promtool ${args.join(' ')}: ${stdout}${stderr}`);
}

test('promtool takes the rules, and each alert fires and clears', { skip: missing }, () => {
  const dir = scratchDirectory('rules');
  cpSync(RULES, join(dir, 'backplane.rules.yaml'));
  cpSync('test/deploy/rules.yaml', join(dir, 'rules.test.yaml'));
  promtool(['check', 'rules', join(dir, 'backplane.rules.yaml')]);
  promtool(['test', 'rules', join(dir, 'rules.test.yaml')]);
  const alerts = [...readFileSync(RULES, 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  const tested = readFileSync('test/deploy/rules.yaml', 'utf8');
  for (const name of alerts) assert.ok(tested.includes(`alertname="${name}"`), `${name} is not tested`);
});

test('each panel has data under load, and the alert of a node that goes fires and clears', {
  skip: missing,
}, async () => {
  const bus = await Bus.start({ BACKPLANE_SOURCE: 'synthetic', BACKPLANE_SYNTHETIC_RATE: '500' });
  const prometheus = await startPrometheus(bus.http);
  try {
    promtool(['check', 'metrics'], await (await bus.get('/metrics')).text());
    const observe = new Command(['observe', '--group', 'g', '--all', '-o', 'json'], bus.env);
    for (const [title, expression] of panelQueries()) {
      await until(`data of ${title}`, async () => (await prometheus.query(expression)).length > 0, prometheus.seen);
    }
    await observe.stop('SIGTERM');
    const firing = () => prometheus.query('ALERTS{alertname="BackplaneNodeGone",alertstate="firing"} == 1');
    const agent = new Command(['agent', '--node-name', 'other', '--data-dir', scratchDirectory('other')], {
      ...bus.env,
      ...{ BACKPLANE_SOURCE: 'synthetic', BACKPLANE_SYNTHETIC_RATE: '10' },
    });
    const connected = 'sum(backplane_nodes{state!="gone"}) == 2';
    await until('two nodes', async () => (await prometheus.query(connected)).length > 0, prometheus.seen);
    await agent.stop('SIGTERM');
    await until('the alert', async () => (await firing()).length > 0, prometheus.seen);
    const forgetting = new Command(['nodes', 'forget', 'other'], bus.env);
    assert.equal(await forgetting.exited, 0, forgetting.stderr);
    await until('its end', async () => (await firing()).length === 0, prometheus.seen);
  } finally {
    await prometheus.stop();
    await bus.destroy();
  }
});

/** [title, query] of every target of the dashboard, for any broker. */
function panelQueries(): [string, string][] {
  const { panels } = JSON.parse(readFileSync('deploy/grafana/backplane.json', 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  return panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }): [string, string] => [title, expr.replaceAll('$instance', '.*')]),
  );
}

/** With deploy/'s own configuration and rules, but looking each half second, and with shorter waits. */
async function startPrometheus(broker: string) {
  const dir = scratchDirectory('prometheus');
  const configuration = readFileSync('deploy/prometheus/prometheus.yaml', 'utf8')
    .replaceAll('15s', '500ms')
    .replace('127.0.0.1:8485', broker);
  assert.ok(configuration.includes(broker));
  writeFileSync(join(dir, 'prometheus.yaml'), configuration);
  writeFileSync(join(dir, 'backplane.rules.yaml'), readFileSync(RULES, 'utf8').replace(/for: \w+/g, 'for: 1s'));
  const address = await freeAddress();
  const child = spawn(
    'prometheus',
    [`--config.file=${join(dir, 'prometheus.yaml')}`, `--storage.tsdb.path=${dir}`, `--web.listen-address=${address}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-4_000);
  });
  const exited = new Promise((resolve) => child.once('close', resolve));
  return {
    seen: () => log,
    async query(expression: string): Promise<unknown[]> {
      const url = `http://${address}/api/v1/query?query=${encodeURIComponent(expression)}`;
      const answer = await fetch(url).catch(() => undefined);
      // It answers in plain text, and not always with 503, while it starts.
      if (!answer?.headers.get('content-type')?.includes('json')) return [];
      const { status, data, error } = (await answer.json()) as {
        status: string;
        data?: { result: { value: [number, string] }[] };
        error?: string;
      };
      if (status !== 'success') assert.fail(`${expression}: ${error}`);
      return (data?.result ?? []).filter(({ value }) => value[1] !== 'NaN');
    },
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Prometheus cannot be given port 0: it does not say which one it took. */
async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `127.0.0.1:${port}`;
}
