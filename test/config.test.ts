/** Settings: where they come from, which of them wins, and how a bad one is refused. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { configYaml } from '../src/cli/config.js';
import { configEnvironment, environmentName, flagName, SETTING_KEYS, SETTINGS } from '../src/config/settings.js';
import { type Config, type ConfigSources, loadConfig } from '../src/config.js';
import { BackplaneError } from '../src/errors.js';
import { bytesText, parseBytes } from '../src/text/size-text.js';
import { durationMsText, parseDurationMs } from '../src/text/time-text.js';
import { scratchDirectory } from './harness/files/scratch-directory.js';
import { runs } from './harness/runs.js';

const dir = scratchDirectory('config');

function file(text: string): string {
  const path = join(dir, `${Math.random()}.yaml`);
  writeFileSync(path, text);
  return path;
}

function load(sources: Partial<ConfigSources>): Promise<Config> {
  return loadConfig({ flags: {}, environment: {}, ...sources });
}

async function refusal(sources: Partial<ConfigSources>): Promise<string> {
  try {
    await load(sources);
  } catch (thrown) {
    assert.ok(thrown instanceof BackplaneError);
    assert.equal(thrown.exitCode, 2);
    assert.doesNotMatch(thrown.message, /\n/);
    return thrown.message;
  }
  return assert.fail('not refused');
}

test('a setting that is given nowhere has its default', async () => {
  const { settings, origins } = await load({});
  assert.equal(settings['grpc.listen'], '127.0.0.1:8484');
  assert.equal(settings['http.listen'], '127.0.0.1:8485');
  assert.deepEqual(settings.brokers, ['127.0.0.1:8484']);
  assert.equal(settings['recorder.bytesMax'], 2 ** 30);
  assert.equal(settings['recorder.ageMax'], 86_400_000);
  assert.equal(settings.insecure, false);
  assert.deepEqual(settings.events, []);
  assert.deepEqual(settings['agent.profiles'], ['lite']);
  assert.equal(origins['data.dir'].origin, 'default');
});

test('a flag wins over the environment, the environment over the file, and the file over the default', async () => {
  const path = file('data: { dir: /file }\nlog: { level: debug, fsync: never }\nsource: procfs\n');
  const { settings, origins } = await load({
    flags: { 'data.dir': '/flag' },
    environment: { BACKPLANE_DATA_DIR: '/env', BACKPLANE_LOG_LEVEL: 'warn', BACKPLANE_CONFIG: path },
  });
  assert.equal(settings['data.dir'], '/flag');
  assert.equal(settings['log.level'], 'warn');
  assert.equal(settings['log.fsync'], 'never');
  assert.equal(settings.source, 'procfs');
  assert.equal(origins['data.dir'].origin, 'flag --data-dir');
  assert.equal(origins['log.level'].origin, 'environment BACKPLANE_LOG_LEVEL');
  assert.equal(origins['log.fsync'].origin, `file ${path}`);
});

test('the flag --config wins over the variable BACKPLANE_CONFIG', async () => {
  const chosen = file('source: synthetic\n');
  const other = file('source: procfs\n');
  assert.equal((await load({ file: chosen, environment: { BACKPLANE_CONFIG: other } })).settings.source, 'synthetic');
});

test('an empty variable counts as not set, and variables of other programs are ignored', async () => {
  const environment = { BACKPLANE_DATA_DIR: '', BACKPLANE_SERVICE_HOST: '10.0.0.1', BACKPLANE_PORT: 'tcp://10.0.0.1' };
  assert.equal((await load({ environment })).origins['data.dir'].origin, 'default');
});

test('an unknown BACKPLANE_ variable is reported with the nearest known name, except those that Kubernetes sets', async () => {
  const environment = {
    BACKPLANE_DATADIR: '/x',
    BACKPLANE_FROBNICATION_OF_EVERYTHING: '1',
    BACKPLANE_CONFIG: '',
    BACKPLANE_BROKER_SERVICE_PORT_GRPC: '8484',
    BACKPLANE_BROKER_PORT_8484_TCP_ADDR: '10.0.0.1',
    BACKPLANE_SERVICE_HOST: '10.0.0.1',
    BACKPLANE_PORT: 'tcp://10.0.0.1',
  };
  assert.deepEqual((await load({ environment })).warnings, [
    'unknown variable BACKPLANE_DATADIR in the environment, did you mean "BACKPLANE_DATA_DIR"?',
    'unknown variable BACKPLANE_FROBNICATION_OF_EVERYTHING in the environment',
  ]);
  assert.deepEqual((await load({ environment: { BACKPLANE_LOG_LEVEL: 'warn' } })).warnings, []);
});

test("the names of a flag and of a variable follow from the setting's key", () => {
  assert.equal(environmentName('recorder.bytesMax'), 'BACKPLANE_RECORDER_BYTES_MAX');
  assert.equal(environmentName('buffer.bytesPerCpu'), 'BACKPLANE_BUFFER_BYTES_PER_CPU');
  assert.equal(environmentName('grpc.listen'), 'BACKPLANE_GRPC_LISTEN');
  assert.equal(flagName('recorder.ageMax'), '--recorder-age-max');
  assert.equal(flagName('brokers'), '--broker');
  assert.equal(new Set(SETTING_KEYS.map(environmentName)).size, SETTING_KEYS.length);
});

test('a list is read alike from YAML, from a flag and from the environment', async () => {
  const expected = ['a:1', 'b.example:65535', '[::1]:8484'];
  const sources: Partial<ConfigSources>[] = [
    { file: file('brokers: ["a:1", "b.example:65535", "[::1]:8484"]') },
    { flags: { brokers: 'a:1,b.example:65535,[::1]:8484' } },
    { environment: { BACKPLANE_BROKERS: ' a:1, b.example:65535 ,[::1]:8484,' } },
  ];
  for (const source of sources) assert.deepEqual((await load(source)).settings.brokers, expected);
});

test('redaction rules are read alike from YAML and from JSON', async () => {
  const rules = [{ name: 'pin', field: 'process.command_args', pattern: '--pin=(?P<pin>\\d+)', groups: ['pin'] }];
  const yaml =
    "redaction: { rules: [{ name: pin, field: process.command_args, pattern: '--pin=(?P<pin>\\d+)', groups: [pin] }], off: [jwt] }";
  const { settings } = await load({ file: file(yaml) });
  assert.deepEqual(settings['redaction.rules'], rules);
  assert.deepEqual(settings['redaction.off'], ['jwt']);
  const environment = { BACKPLANE_REDACTION_RULES: JSON.stringify(rules), BACKPLANE_REDACTION_OFF: 'jwt' };
  assert.deepEqual((await load({ environment })).settings, settings);
});

test('a mix of synthetic events is read as kinds with their weights', async () => {
  const { settings } = await load({ flags: { 'synthetic.mix': ' syscall = 89,process=8' } });
  assert.deepEqual(settings['synthetic.mix'], { process: 8, syscall: 89 });
  assert.deepEqual((await load({})).settings['synthetic.mix'], { life: 1 });
});

for (const [name, flags, expected] of [
  [
    'too small a size',
    { 'recorder.bytesMax': '12' },
    'recorder.bytesMax must be at least 1MiB, got "12" (flag --recorder-bytes-max)',
  ],
  [
    'no size',
    { 'log.bytesMax': '12 potatoes' },
    'log.bytesMax must be like 512MiB, got "12 potatoes" (flag --log-bytes-max)',
  ],
  ['no duration', { 'log.ageMax': '1y' }, 'log.ageMax must be like 90s or 24h, got "1y" (flag --log-age-max)'],
  [
    'too long',
    { 'recorder.ageMax': '9999d' },
    'recorder.ageMax must be at most 3650d, got "9999d" (flag --recorder-age-max)',
  ],
  [
    'port',
    { 'grpc.listen': '127.0.0.1:65536' },
    'grpc.listen must be host:port, like 127.0.0.1:8484 or [::1]:8484, got "127.0.0.1:65536" (flag --grpc-listen)',
  ],
  [
    'word',
    { 'log.fsync': 'Always' },
    'log.fsync must be one of commit, interval, never, got "Always" (flag --log-fsync)',
  ],
  [
    'a word beside sockets',
    { 'agent.containers': 'off,unix:///x' },
    'agent.containers must hold off alone, or sockets, got "off,unix:///x" (flag --agent-containers)',
  ],
  [
    'whole number',
    { 'synthetic.rate': '1e3' },
    'synthetic.rate must be a whole number, got "1e3" (flag --synthetic-rate)',
  ],
  [
    'too fast',
    { 'synthetic.rate': '5000001' },
    'synthetic.rate must be at most 5000000, got "5000001" (flag --synthetic-rate)',
  ],
  ['nodes', { 'synthetic.nodes': '257' }, 'synthetic.nodes must be at most 256, got "257" (flag --synthetic-nodes)'],
  [
    'no weight',
    { 'synthetic.mix': 'process,network=3' },
    'synthetic.mix must hold kind=weight items, like process=8,network=3,syscall=89, got "process,network=3" (flag --synthetic-mix)',
  ],
  [
    'kind',
    { 'synthetic.mix': 'process=8,file=3' },
    'synthetic.mix must hold kinds that are one of life, process, network, syscall, numbered, not "file", got "process=8,file=3" (flag --synthetic-mix)',
  ],
  [
    'kind twice',
    { 'synthetic.mix': 'process=8,process=3' },
    'synthetic.mix must hold each kind once, not "process" twice, got "process=8,process=3" (flag --synthetic-mix)',
  ],
  [
    'weight',
    { 'synthetic.mix': 'process=0' },
    'synthetic.mix must hold weights of 1 to 1000, not 0 for "process", got "process=0" (flag --synthetic-mix)',
  ],
  ['negative', { 'synthetic.lanes': '-1' }, 'synthetic.lanes must be at least 1, got "-1" (flag --synthetic-lanes)'],
  [
    'event',
    { events: 'sched_switch' },
    'events must hold group/name items, like sched/sched_switch, got "sched_switch" (flag --events)',
  ],
  [
    'broker',
    { brokers: 'a:1,b@zone' },
    'brokers must hold host:port or host:port@zone items, got "a:1,b@zone" (flag --broker)',
  ],
  ['broker twice', { brokers: 'a:1,a:1@x' }, 'brokers must name each broker once, got "a:1,a:1@x" (flag --broker)'],
  [
    'zone',
    { zone: 'x y' },
    'zone must be at most 63 letters, digits, ".", "_" or "-", and begin with a letter or digit, got "x y" (flag --zone)',
  ],
  [
    'cluster without brokers',
    { clusters: '{"a":{"brokers":[],"token":"secret"}}' },
    'clusters item a.brokers: must be 1 to 16 addresses (host:port), got 0 (flag --clusters)',
  ],
  [
    'key of a cluster',
    { clusters: '{"a":{"brokers":"x:1","tokne":"secret"}}' },
    'clusters item a: unknown key "tokne", did you mean "token"? (known: brokers, ca, cert, key, token, tokenFile) (flag --clusters)',
  ],
  [
    'cluster that is no map',
    { clusters: '{"a":"x:1"}' },
    'clusters item a: must be a map of brokers, ca, cert, key, token, tokenFile (flag --clusters)',
  ],
  [
    'two credentials of a cluster',
    { clusters: '{"a":{"brokers":"x:1","token":"secret","tokenFile":"f"}}' },
    'clusters item a: must have one of token, tokenFile and cert (flag --clusters)',
  ],
  [
    'name of a cluster',
    { clusters: '{"a/b":{"brokers":"x:1"}}' },
    'clusters has a bad name: it must be at most 63 letters, digits, ".", "_" or "-", and begin with a letter or digit, got "a/b" (flag --clusters)',
  ],
  ['no broker', { brokers: ' , ' }, 'brokers must hold 1 to 16 items, got " , " (flag --broker)'],
  [
    'redaction rule',
    { 'redaction.rules': '[{"name":"pin","field":"process.command_args","pattern":"(a"}]' },
    'redaction.rules has a bad rule: redaction rule "pin": pattern: not an RE2 pattern (missing closing ))' +
      ', got "[{\\"name\\":\\"pin\\",\\"field\\":\\"process.command_args\\",\\"pattern\\":\\"(a\\"}]" (flag --redaction-rules)',
  ],
  [
    'redaction field',
    { 'redaction.rules': '[{"name":"pin","field":"process.comm","pattern":"a"}]' },
    'redaction.rules item 1.field: must be one of process.command_args, process.working_directory, dns.question.name' +
      ', got "[{\\"name\\":\\"pin\\",\\"field\\":\\"process.comm\\",\\"pattern\\":\\"a\\"}]" (flag --redaction-rules)',
  ],
  [
    'redaction default',
    { 'redaction.off': 'jwt,nonesuch' },
    'redaction.off must hold names of default rules (backplane doctor lists them), or all, got "jwt,nonesuch" (flag --redaction-off)',
  ],
  ['empty', { 'data.dir': '' }, 'data.dir must not be empty, got "" (flag --data-dir)'],
] as const) {
  test(`a refusal names key, bound, value and origin: ${name}`, async () =>
    assert.equal(await refusal({ flags }), expected));
}

test('a node name with hostile characters is refused', async () => {
  for (const name of ['a b', '../x', 'a\nb', '-rf', 'x'.repeat(254)]) {
    assert.match(await refusal({ flags: { 'node.name': name } }), /^node\.name must be .* \(flag --node-name\)$/);
  }
});

for (const [name, text, expected] of [
  [
    'unknown key',
    'recorder: { bytesMaxx: 1GiB }',
    /unknown key "recorder.bytesMaxx", did you mean "recorder.bytesMax"\?$/,
  ],
  ['prototype', '__proto__: { source: procfs }', /unknown key "__proto__"/],
  ['constructor', 'recorder: { constructor: 1 }', /unknown key "recorder.constructor"/],
  ['not keys', '- 1', /the file must hold keys$/],
  ['scalar where keys are', 'recorder: 12', /recorder must hold keys$/],
  ['map where a value is', 'source: { a: 1 }', /source must be a number, text, true or false$/],
  ['list where a value is', 'source: [procfs]', /source must be a number, text, true or false$/],
  ['nested list', 'brokers: [[a]]', /brokers must be a list or text$/],
  ['no YAML', 'a: [', /configuration file .*: .+/],
  ['alias bomb', 'a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]', /configuration file .*: .+/],
  ['too long', `#${'x'.repeat(300_000)}`, /must be at most 262144 bytes, is 300001$/],
] as const) {
  test(`a bad configuration file is refused in one line: ${name}`, async () =>
    assert.match(await refusal({ file: file(text) }), expected));
}

test('a missing configuration file is refused, and an empty one changes no setting', async () => {
  assert.match(
    await refusal({ file: join(dir, 'none.yaml') }),
    /^configuration file .*none\.yaml: there is no such file$/,
  );
  assert.equal((await load({ file: file('') })).origins.source.origin, 'default');
});

const sources = fc.record(
  {
    'recorder.bytesMax': fc.integer({ min: 2 ** 20, max: 2 ** 45 }).map(String),
    'log.ageMax': fc.integer({ min: 1000, max: 10 ** 10 }).map((ms) => `${ms}ms`),
    'synthetic.seed': fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(String),
    'synthetic.mix': fc.constantFrom('life=1', 'syscall=89, process=8,network=3', 'numbered=1000'),
    insecure: fc.constantFrom('true', 'false'),
    source: fc.constantFrom('auto', 'tracefs', 'procfs', 'synthetic'),
    brokers: fc
      .uniqueArray(fc.constantFrom('a:1', 'b:2@zone', '[::1]:3'), { minLength: 1 })
      .map((all) => all.join(',')),
    zone: fc.constantFrom('', 'eu-1', 'zone'),
    clusters: fc.constantFrom(
      '{}',
      '{"a":{"brokers":"x:1,y:2@zone"},"b.c":{"brokers":["z:3"],"ca":"ca.crt","tokenFile":"./t"}}',
    ),
    events: fc.array(fc.constantFrom('sched/sched_switch', 'irq/softirq_entry')).map((all) => all.join(',')),
    'redaction.rules': fc
      .array(
        fc.record(
          {
            name: fc.constantFrom('a', 'jwt'),
            field: fc.constantFrom('process.command_args', 'process.working_directory'),
            pattern: fc.constantFrom('(?i)"(x)#\\x00', "a: b # 'c'", '(?P<g>\n)'),
            groups: fc.constantFrom([0], [0, 0]),
            hints: fc.constantFrom([], ['xy', '#1']),
          },
          { requiredKeys: ['name', 'field', 'pattern'] },
        ),
        { maxLength: 1 },
      )
      .map((rules) => JSON.stringify(rules)),
    'redaction.off': fc.constantFrom('', 'all', 'jwt, bearer'),
    'agent.profiles': fc.constantFrom('', 'security', 'syscall, file', 'lite,security,file,syscall'),
    'data.dir': fc.constantFrom('/a b', './data', 'true', '12', '~', 'a: b # c'),
  },
  { requiredKeys: [] },
);

test('the printed configuration reads back as the same configuration, from a file and from the environment', async () => {
  await fc.assert(
    fc.asyncProperty(sources, async (flags) => {
      const config = await load({ flags });
      const fromFile = await load({ file: file(configYaml(config)) });
      assert.deepEqual(fromFile.settings, config.settings);
      const fromEnvironment = await load({ environment: configEnvironment(config.settings) });
      assert.deepEqual(fromEnvironment.settings, config.settings);
    }),
    { numRuns: runs(50) },
  );
});

test('the printed configuration says where each value comes from', async () => {
  const yaml = configYaml(await load({ flags: { source: 'procfs' }, environment: { BACKPLANE_DATA_DIR: '/d' } }));
  assert.match(yaml, /^source: procfs # flag --source$/m);
  assert.match(yaml, /^ {2}dir: \/d # environment BACKPLANE_DATA_DIR$/m);
  assert.match(yaml, /^brokers: \[ 127\.0\.0\.1:8484 \] # default$/m);
  assert.equal((parse(yaml) as { recorder: { bytesMax: string } }).recorder.bytesMax, '1GiB');
});

test('every default passes the check of its own setting, and loads nothing for that', () => {
  for (const key of SETTING_KEYS) {
    if (key !== 'node.name') assert.ok(!(SETTINGS[key].parse(SETTINGS[key].fallback) instanceof Promise), key);
  }
});

test('a size or duration that is printed reads back as the same value', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      assert.equal(parseBytes(bytesText(value)), value);
      const ms = value % 10 ** 12;
      assert.equal(parseDurationMs(durationMsText(ms)), ms);
    }),
  );
  assert.equal(parseBytes('1.5GiB'), undefined);
  assert.equal(parseBytes('-1'), undefined);
  assert.equal(parseBytes('2KB'), undefined);
  assert.equal(parseBytes('512 MiB'), 512 * 2 ** 20);
  assert.equal(parseBytes('4G'), 4 * 2 ** 30);
  assert.equal(parseBytes('999999999999999TiB'), undefined);
  assert.equal(parseDurationMs('1h30m'), 5_400_000);
  assert.equal(parseDurationMs('1.5s'), 1500);
  assert.equal(parseDurationMs('1.5ms'), undefined, 'no whole number of milliseconds');
  assert.equal(durationMsText(7 * 86_400_000), '7d');
  assert.equal(parseDurationMs('5'), undefined);
  assert.equal(parseDurationMs(''), undefined);
});
