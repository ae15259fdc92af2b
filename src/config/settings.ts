/** Every setting: its key, what it accepts, its default. */
import { hostname } from 'node:os';
import * as limits from '../limits.js';
import type { RedactionRule } from '../sensor-agent/redaction/rule.js';
import { isBroker, isHostAndPort, isZone, twiceIn, ZONE_FORM } from '../text/broker-address.js';
import { isKeysPlace, isOrigin } from './addresses.js';
import { AGENT_SETTINGS } from './agent-settings.js';
import { type ClustersSetting, clustersText } from './clusters-data.js';
import { ID_WINDOW_FORM, ID_WINDOWS_DEFAULT, isIdWindow } from './id-windows.js';
import { mixText, parseMix } from './mix.js';
import { NATS_SETTINGS } from './nats-settings.js';
import {
  anyText,
  choice,
  filledText,
  list,
  oneOf,
  refuse,
  type Setting,
  setting,
  size,
  span,
  textThat,
  whole,
} from './setting.js';

const DAY_MS = 24 * 3600 * 1000;
const NO_CLUSTERS: ClustersSetting = new Map();

function documentBytes(fallback: number, what: string): Setting<number> {
  return size([limits.DOCUMENT_LOG_BYTES_MIN, limits.DOCUMENT_LOG_BYTES_MAX], fallback, `size of the log of ${what}`);
}

const trueOrFalse = oneOf('true', 'false');
/** On the command line a flag without a value. */
const flag = (text: string) => trueOrFalse(text) === 'true';
const address = textThat(isHostAndPort, 'must be host:port, like 127.0.0.1:8484 or [::1]:8484');

const brokerList = list(isBroker, [1, limits.BROKERS_MAX], 'host:port or host:port@zone items');
const brokers = {
  ...brokerList,
  parse: (text: string) => {
    const items = brokerList.parse(text);
    return twiceIn(items) === undefined ? items : refuse('must name each broker once');
  },
  fallback: '127.0.0.1:8484',
  summary:
    'brokers to connect to, those of this zone first, else in any order (host:port or host:port@zone, comma-separated)',
};

const keysPlace = textThat(isKeysPlace, 'must be a file, or an https address (http on loopback)');

function nodeName(text: string): string {
  if (text.length > limits.NAME_BYTES_MAX) refuse(`must be at most ${limits.NAME_BYTES_MAX} characters`);
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(text)) return text;
  return refuse('must be letters, digits, ".", "_" or "-", not beginning with "." or "-"');
}

/** Every setting by key. Keys are the YAML paths. Ages are milliseconds, sizes bytes once parsed. */
export const SETTINGS = {
  ...NATS_SETTINGS,
  'grpc.listen': setting(address, '127.0.0.1:8484', 'where the broker listens for agents and subscribers'),
  'http.listen': setting(address, '127.0.0.1:8485', 'where the broker listens for HTTP'),
  'http.origins': {
    ...list(isOrigin, [0, limits.HTTP_ORIGINS_MAX], 'origins, like https://console.example:8443'),
    fallback: '',
    summary: 'origins whose pages may use HTTP, besides its own (comma-separated)',
  },
  'data.dir': setting(filledText, './data', 'directory of recorder and log'),
  'node.name': setting(nodeName, hostname(), "this node's name"),
  brokers,
  zone: setting(
    textThat((text) => text === '' || isZone(text), ZONE_FORM),
    '',
    'zone of this agent or command: brokers of it are asked before others',
  ),
  clusters: {
    parse: (text: string) =>
      text === '{}' ? NO_CLUSTERS : import('./clusters.js').then(({ clustersOf }) => clustersOf(text)),
    text: clustersText,
    data: true,
    secret: true,
    fallback: '{}',
    summary: 'clusters that commands can ask together, by name (JSON; see docs/several-clusters.md)',
  },
  insecure: setting(flag, 'false', 'allow listening beyond loopback without TLS'),
  'broker.token': setting(flag, 'true', 'let in whoever can connect: no call wants the token in DATA_DIR/token'),
  'token.file': setting(
    anyText,
    '',
    'file with the token of the broker, for agents and commands; BACKPLANE_TOKEN holds the token itself',
  ),
  'tls.ca': setting(
    anyText,
    '',
    "file with the CA of the broker's certificate, for agents and commands, which then use TLS; system: those that Node knows",
  ),
  'tls.cert': setting(anyText, '', 'file with the certificate that this side shows (PEM)'),
  'tls.key': setting(anyText, '', 'file with its key'),
  'tls.clientCa': setting(
    anyText,
    '',
    'file with the CA of the certificates that agents and subscribers may show the broker',
  ),
  'tls.caKey': setting(
    anyText,
    '',
    'file with the key of that CA, with which the broker signs the certificates of nodes that join',
  ),
  'tls.nodeLifetime': span(
    [limits.NODE_CERTIFICATE_MS_MIN, limits.NODE_CERTIFICATE_MS_MAX],
    limits.NODE_CERTIFICATE_MS_DEFAULT,
    'how long those certificates hold; nodes renew them by themselves',
  ),
  roles: setting(
    anyText,
    '',
    "file of roles: what identities may do besides the holder of the broker's token (see docs/access.md)",
  ),
  tokens: setting(anyText, '', 'file of issued tokens; without it tokens.yaml in the data directory, if there is one'),
  'jwt.keys': setting(
    keysPlace,
    '',
    'keys that verify web tokens (JWT): a file, or the https address, of a JSON Web Key Set; without it none are taken',
  ),
  'jwt.issuer': setting(anyText, '', 'who issues web tokens: their claim iss'),
  'jwt.audience': setting(anyText, '', 'for whom web tokens are: their claim aud'),
  'jwt.identity': setting(filledText, 'sub', 'claim of web tokens that names the identity'),
  'jwt.groups': setting(anyText, 'groups', 'claim of web tokens that names groups, to which roles are bound'),
  'join.keys': setting(
    keysPlace,
    '',
    'keys of service account tokens by which nodes of a Kubernetes cluster join: a JWKS file, or its https URL',
  ),
  'join.serviceAccount': setting(
    textThat((text) => /^([a-z0-9-]{1,63}:[a-z0-9.-]{1,253})?$/.test(text), 'must be namespace:name'),
    '',
    'the service account of the agents there (namespace:name)',
  ),
  'log.level': choice(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    'info',
    'how much is logged to stderr',
  ),
  'log.bytesMax': size(
    [limits.MiB, 1024 * limits.GiB * 1024],
    limits.LOG_BYTES_DEFAULT,
    "size of the broker's log in all",
  ),
  'log.ageMax': span([1000, 3650 * DAY_MS], limits.LOG_AGE_MS_DEFAULT, "age of the broker's log"),
  'log.fsync': choice(
    ['commit', 'interval', 'never'],
    'commit',
    'when frames become durable: before their acknowledgement, every second, or when the system likes',
  ),
  'app.log.bytesMax': documentBytes(limits.APP_LOG_BYTES_DEFAULT, 'what applications publish (app.*)'),
  'app.log.ageMax': span([1000, 3650 * DAY_MS], limits.APP_LOG_AGE_MS_DEFAULT, 'age of the log of app.*'),
  'alert.log.bytesMax': documentBytes(limits.ALERT_LOG_BYTES_DEFAULT, 'alerts'),
  'alert.log.ageMax': span([1000, 3650 * DAY_MS], limits.ALERT_LOG_AGE_MS_DEFAULT, 'age of the log of alerts'),
  'audit.log.bytesMax': documentBytes(limits.AUDIT_LOG_BYTES_DEFAULT, 'the audit'),
  'audit.log.ageMax': span([1000, 3650 * DAY_MS], limits.AUDIT_LOG_AGE_MS_DEFAULT, 'age of the log of the audit'),
  'publish.bytes': size(
    [limits.KiB, limits.GiB],
    limits.PUBLISH_BYTES_PER_SECOND_DEFAULT,
    'bytes per second that one identity may publish',
  ),
  'publish.events': setting(
    whole(1, 100_000_000),
    String(limits.PUBLISH_EVENTS_PER_SECOND_DEFAULT),
    'events per second that one identity may publish',
  ),
  'publish.burst': span(
    [100, limits.BUDGET_BURST_MS_MAX],
    limits.PUBLISH_BURST_MS_DEFAULT,
    'how much of either may be published at once, as so much time of its rate',
  ),
  'publish.ids': {
    ...list(isIdWindow, [0, limits.KNOWN_IDS_TOPICS_MAX], ID_WINDOW_FORM),
    fallback: ID_WINDOWS_DEFAULT,
    summary:
      'how long ids of published events are remembered, and how many, by topic (topic=time/count, comma-separated)',
  },
  'recorder.bytesMax': size(
    [limits.MiB, 1024 * limits.GiB * 1024],
    limits.RECORDER_BYTES_DEFAULT,
    'size of the flight recorder',
  ),
  'recorder.ageMax': span([1000, 3650 * DAY_MS], limits.RECORDER_AGE_MS_DEFAULT, 'age of the flight recorder'),
  'budget.live.bytes': size(
    [limits.KiB, limits.GiB],
    limits.LIVE_BYTES_PER_SECOND_DEFAULT,
    'bytes per second that this node may send live; what is above is shed, counted, and stays in the recorder',
  ),
  'budget.live.events': setting(
    whole(1, 100_000_000),
    String(limits.LIVE_EVENTS_PER_SECOND_DEFAULT),
    'events per second that this node may send live',
  ),
  'budget.history.bytes': size(
    [limits.KiB, limits.GiB],
    limits.HISTORY_BYTES_PER_SECOND_DEFAULT,
    'bytes per second that this node may send from its recorder',
  ),
  'budget.ceiling': size(
    [0, 1024 * limits.GiB],
    0,
    'bytes per second that all nodes of a broker together may send live, dealt out by demand; 0: no such bound',
  ),
  'budget.burst': span(
    [100, limits.BUDGET_BURST_MS_MAX],
    limits.BUDGET_BURST_MS_DEFAULT,
    'how much of any budget may be sent at once, as so much time of its rate',
  ),
  'group.member.timeout': span(
    [500, 3_600_000],
    limits.GROUP_MEMBER_TIMEOUT_MS_DEFAULT,
    'how long a member of a group that does not answer, or a named one without connection, keeps its slices',
  ),
  'group.commit.timeout': span(
    [1_000, DAY_MS],
    limits.GROUP_COMMIT_TIMEOUT_MS_DEFAULT,
    'how long events that a member was given may stay uncommitted before another member gets them',
  ),
  'group.revoke.timeout': span(
    [0, 60_000],
    limits.GROUP_REVOKE_TIMEOUT_MS_DEFAULT,
    'how long a member may still commit a slice that it gives up',
  ),
  'group.interest.ageMax': span(
    [0, 7 * DAY_MS],
    limits.GROUP_INTEREST_MS_DEFAULT,
    'how long nodes are asked for the events of a group that has no members (groups that are made from now on)',
  ),
  'group.cursors.ageMax': span(
    [1_000, 3650 * DAY_MS],
    limits.GROUP_CURSORS_MS_DEFAULT,
    'how long the cursors of a group that has no members are kept (groups that are made from now on)',
  ),
  source: choice(['auto', 'tracefs', 'procfs', 'synthetic'], 'auto', 'where kernel events come from'),
  'synthetic.rate': setting(
    whole(1, limits.SYNTHETIC_EVENTS_PER_SECOND_MAX),
    '1000',
    'events per second of the synthetic source',
  ),
  'synthetic.lanes': setting(whole(1, limits.SYNTHETIC_LANES_MAX), '2', 'lanes (CPUs) of the synthetic source'),
  'synthetic.seed': setting(whole(0, 0xffff_ffff), '1', 'seed of the synthetic source'),
  'synthetic.mix': setting(
    parseMix,
    'life=1',
    'which events are made up, by weight: life, process, network, syscall, numbered',
    mixText,
  ),
  'synthetic.nodes': setting(
    whole(1, limits.SYNTHETIC_NODES_MAX),
    '1',
    'synthetic nodes of one agent process, each with its own recorder and rate, named after node.name: NAME-0001, ...',
  ),
  events: {
    ...list((item) => /^\w{1,64}\/\w{1,128}$/.test(item), [0, 256], 'group/name items, like sched/sched_switch'),
    fallback: '',
    summary: 'trace events to record besides the default profile (group/name, comma-separated)',
  },
  'redaction.rules': {
    parse: (text: string) =>
      text === '[]' ? [] : import('./redaction.js').then(({ redactionRules }) => redactionRules(text)),
    text: (rules: readonly RedactionRule[]) => JSON.stringify(rules),
    data: true,
    fallback: '[]',
    summary: 'rules that mask secrets before they are recorded, besides the default ones (JSON; see docs/redaction.md)',
  },
  'redaction.off': {
    parse: (text: string) => (text === '' ? [] : import('./redaction.js').then(({ rulesOff }) => rulesOff(text))),
    text: (names: readonly string[]) => names.join(','),
    list: true,
    fallback: '',
    summary: 'default rules that do not mask, by name, or all (comma-separated)',
  },
  ...AGENT_SETTINGS,
  'buffer.bytesPerCpu': size(
    [64 * limits.KiB, limits.GiB],
    4 * limits.MiB,
    'kernel trace buffer per CPU; all of them at most 1 % of memory',
  ),
} as const;

export type SettingKey = keyof typeof SETTINGS;
export type Settings = { readonly [K in SettingKey]: Awaited<ReturnType<(typeof SETTINGS)[K]['parse']>> };

export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[];

/** `recorder.bytesMax` is BACKPLANE_RECORDER_BYTES_MAX. */
export function environmentName(key: SettingKey): string {
  return `BACKPLANE_${words(key).join('_').toUpperCase()}`;
}

/**
 * `recorder.bytesMax` is --recorder-bytes-max. Brokers are given one by one or comma-separated as --broker, nats-servers as
 * --nats, the cluster as --cluster. --no-token turns off the need for a token.
 */
export function flagName(key: SettingKey): string {
  if (key === 'brokers') return '--broker';
  if (key === 'nats.servers') return '--nats';
  if (key === 'nats.cluster') return '--cluster';
  return key === 'broker.token' ? '--no-token' : `--${words(key).join('-')}`;
}

function words(key: SettingKey): string[] {
  return key.split('.').flatMap((part) => part.split(/(?=[A-Z])/).map((word) => word.toLowerCase()));
}

/** The setting as a user would write it: it is parsed to the same value. */
export function settingText<K extends SettingKey>(key: K, value: Settings[K]): string {
  return (SETTINGS[key] as unknown as Setting<Settings[K]>).text(value);
}

/** The same configuration as environment variables, for a child process. */
export function configEnvironment(settings: Settings): Record<string, string> {
  return Object.fromEntries(SETTING_KEYS.map((key) => [environmentName(key), settingText(key, settings[key])]));
}
