/** The flags of `observe`, the request that they form, and the command that resumes where one ended. */
import { type Command, Option } from 'commander';
import { BackplaneError } from '../../errors.js';
import { LAST_DEFAULT, LAST_MAX } from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import { parseDuration, parseTimestamp } from '../../text/time-text.js';
import type { SubscribeRequest } from '../../wire/messages.js';
import { commandName } from '../command-name.js';
import { readTime } from '../local-time.js';
import { parseFieldMask } from '../render/field-mask.js';
import { shellWord } from '../render/text.js';
import { TIME_FORMATS, type TimeFormat } from '../render/time.js';
import { defaultView } from './default-view.js';
import { observers } from './observers.js';
import { parseSelector } from './selector-flag.js';

export type ObserveFormat = 'compact' | 'json' | 'jsonpb' | 'table' | 'dict';

export interface ObserveOptions {
  clusters?: string[];
  topic?: string[];
  node?: string[];
  filter?: string;
  selector?: string[];
  all?: boolean;
  since?: string;
  until?: string;
  last?: number;
  follow?: boolean;
  limit?: number;
  cursor?: string;
  output: ObserveFormat;
  printPlan?: boolean;
  color: boolean;
  includeSelf?: boolean;
  fieldMask?: string;
  cursors?: boolean;
  utc?: boolean;
  timeFormat: TimeFormat;
  verbose?: boolean;
  refill?: boolean;
  throttle?: string;
  throttleBy?: string[];
  lagPolicy?: string;
  lagMax?: string;
  latency?: string;
  group?: string;
  member?: string;
  slices?: number;
}

export function addObserveFlags(command: Command): void {
  command
    .option(
      '--clusters <names>',
      'events of several clusters of the setting clusters, merged; nodes are CLUSTER/NODE (repeat, or comma-separated)',
      collect('--clusters', 'the brokers of the settings'),
    )
    .option('-t, --topic <topic>', 'only these topics (repeat, or comma-separated)', collect('--topic', 'every topic'))
    .option(
      '-n, --node <glob>',
      'only these nodes, by name or label (zone=b); * and ? match (repeat, or comma-separated)',
      collect('--node', 'every node'),
    )
    .option(
      '--filter <cel>',
      'only events for which this CEL expression is true',
      filled('--filter', 'for every event'),
    )
    .option(
      '--selector <id=cel>',
      'one of several filters of one stream: events come once, with the ids they match; with topics ID:TOPIC=CEL (repeat)',
      selectors,
    )
    .option('-a, --all', 'every event, and not the selection that is described below')
    .option('--since <time>', 'from here on: how long ago (5m), a time (04:00) or RFC 3339', filled('--since'))
    .option('--until <time>', 'up to here, written like --since', filled('--until'))
    .option(
      '--last <n>',
      `only the last N of the past (default ${LAST_DEFAULT} when no window is given)`,
      count('--last', LAST_MAX),
    )
    .option('-f, --follow', 'go on with live events; without --since, --last or --cursor only live ones')
    .option('--limit <n>', 'end after N events', count('--limit', Number.MAX_SAFE_INTEGER))
    .addOption(new Option('--first <n>', 'the same as --limit').argParser(count('--first', Number.MAX_SAFE_INTEGER)))
    .option(
      '--cursor <cursor>',
      'resume exactly behind the event with this cursor',
      filled('--cursor', 'to begin anew'),
    );
  addOutputFlags(command);
  addDeliveryFlags(command);
}

function addOutputFlags(command: Command): void {
  command
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['compact', 'json', 'jsonpb', 'table', 'dict'])
        .default('compact'),
    )
    .option('--field-mask <fields>', 'only these fields (process.pid,process.executable.path); others are not sent')
    .option('--cursors', 'with -o json: events carry the cursor that resumes behind them, where there is one')
    .option('--utc', 'times are shown and read in UTC')
    .addOption(
      new Option('--time-format <format>', 'times in compact and table').choices(TIME_FORMATS).default('clock'),
    )
    .option('--no-color', 'no colours and no status line, as with NO_COLOR')
    .option('-v, --verbose', 'state the coverage of every node, even where it is complete');
}

function addDeliveryFlags(command: Command): void {
  command
    .option('--refill', 'with --follow: get what nodes shed later, from their recorders')
    .option('--throttle <time>', 'at most one event in this time (5s) for each key', filled('--throttle'))
    .option(
      '--throttle-by <fields>',
      'what makes the key: fields, node, topic (comma-separated; default one key for all events)',
      collect('--throttle-by', 'one key for all events'),
    )
    .addOption(
      new Option('--lag-policy <policy>', 'when far behind: keep up with the log, or skip to its end').choices([
        'keep',
        'skip',
      ]),
    )
    .option('--lag-max <time>', 'how far behind is too far for skip (default 30s)', filled('--lag-max'))
    .option(
      '--latency <time>',
      'how soon live events are wanted (25ms); nodes work more for it, and raise what is below their agent.live.lingerMin (5ms)',
      filled('--latency'),
    )
    .option(
      '--group <name>',
      "share the nodes with a group's other members; what is printed is committed",
      filled('--group'),
    )
    .option(
      '--member <name>',
      'with --group: a name that keeps the share through a lost connection',
      filled('--member'),
    )
    .option('--slices <n>', 'with --group, when it is made: 8, 16, 32 or 64 (default 16)', count('--slices', 64))
    .option('--print-plan', 'only print what kernel, agent and broker would do')
    .option('--include-self', "also events of Backplane's own processes");
}

/** Refuses contradictory flags by their names. Fills in times and the default view. */
export function readOptions(command: Command): ObserveOptions {
  const { first, ...given } = command.opts<ObserveOptions & { first?: number }>();
  if (first !== undefined && given.limit !== undefined && first !== given.limit) {
    throw new BackplaneError('invalid_argument', `--first ${first} and --limit ${given.limit} mean the same: give one`);
  }
  if (given.cursor !== undefined && (given.since !== undefined || given.last !== undefined)) {
    const other = given.since === undefined ? '--last' : '--since';
    throw new BackplaneError('invalid_argument', `--cursor already says where to begin: leave out ${other}`);
  }
  if (given.cursors === true && given.output !== 'json') {
    const reason =
      given.output === 'jsonpb' ? 'jsonpb has them anyway' : 'the others end with the command that goes on';
    throw new BackplaneError('invalid_argument', `--cursors needs -o json: ${reason}`);
  }
  if (given.selector !== undefined) {
    const other = given.topic ? '--topic' : given.filter === undefined ? given.all && '--all' : '--filter';
    if (other) {
      throw new BackplaneError('invalid_argument', `--selector excludes ${other}: each selector has topics and filter`);
    }
  }
  if (given.clusters !== undefined) checkClusters(command);
  const options = { ...given };
  if (given.group !== undefined) options.follow = true;
  else if (given.member !== undefined || given.slices !== undefined) {
    const flag = given.member === undefined ? '--slices' : '--member';
    throw new BackplaneError('invalid_argument', `${flag} needs --group: it is of a group`);
  }
  const limit = given.limit ?? first;
  if (limit !== undefined) options.limit = limit;
  readTimes(options);
  // With nothing but its name a group is taken as it is.
  if (options.group !== undefined && options.all) options.filter ??= 'true';
  const chosen = options.topic ?? options.filter ?? options.selector ?? options.cursor ?? options.all;
  if (!(chosen ?? options.group)) options.filter = defaultView(observers());
  return options;
}

/** The setting `clusters` says of each which brokers it has, and who is asking. */
const OF_ONE_CLUSTER = ['broker', 'tokenFile', 'tlsCa', 'tlsCert', 'tlsKey', 'group'];

function checkClusters(command: Command): void {
  const other = command.options.find((option) => {
    const name = option.attributeName();
    return OF_ONE_CLUSTER.includes(name) && command.getOptionValueSource(name) === 'cli';
  });
  if (other !== undefined)
    throw new BackplaneError('invalid_argument', `--clusters excludes ${other.long}: that is of one cluster`);
}

function readTimes(options: ObserveOptions): void {
  const nowMs = Date.now();
  const reading = { nowMs, utc: options.utc === true };
  if (options.since !== undefined) options.since = readTime('--since', options.since, reading);
  if (options.until === undefined) return;
  const nowNs = msToNs(nowMs);
  // With follow the end lies in the future; otherwise it lies after the start.
  const afterNs = options.follow === true ? nowNs : startNs(options.since, nowNs);
  options.until = readTime('--until', options.until, { ...reading, afterNs });
}

function startNs(since: string | undefined, nowNs: bigint): bigint | undefined {
  if (since === undefined) return undefined;
  const ago = parseDuration(since);
  return ago === undefined ? parseTimestamp(since) : nowNs - ago;
}

export function subscribeRequest(options: ObserveOptions): SubscribeRequest {
  const fields = options.fieldMask === undefined ? [] : parseFieldMask(options.fieldMask).map((path) => path.join('.'));
  const {
    topic = [],
    selector = [],
    node = [],
    since = '',
    until = '',
    last = 0,
    limit = 0,
    cursor = '',
    follow = false,
  } = options;
  return {
    topics: topic,
    nodes: node,
    filter: options.filter ?? '',
    since,
    until,
    follow,
    last,
    limit: String(limit),
    cursor,
    includeSelf: options.includeSelf === true,
    fields: selector.length > 0 ? [] : fields,
    selectors: selector.map((text) => parseSelector(text, fields)),
    client: `observe (pid ${process.pid})`,
    refill: options.refill === true,
    throttle: options.throttle ?? '',
    throttleBy: options.throttleBy ?? [],
    lagPolicy: options.lagPolicy ?? '',
    lagMax: options.lagMax ?? '',
    latency: options.latency ?? '',
    group:
      options.group === undefined
        ? null
        : { name: options.group, member: options.member ?? '', slices: options.slices ?? 0 },
  };
}

/** Flags that state a start, as the cursor does, or that are written anew below. */
const REPLACED: ReadonlySet<string> = new Set(['since', 'last', 'first', 'cursor', 'filter', 'until', 'printPlan']);

/**
 * The whole command that goes on behind a cursor, for a POSIX shell: the flags that were given, the filter that was in
 * force, and the window's end as it was resolved (`until`: RFC 3339, or '').
 */
export function resumeCommand(command: Command, options: ObserveOptions, cursor: string, until: string): string {
  const words = [commandName(), command.name()];
  for (const option of command.options) {
    const name = option.attributeName();
    if (REPLACED.has(name) || command.getOptionValueSource(name) !== 'cli') continue;
    words.push(...flagWords(option, command.getOptionValue(name)));
  }
  if (options.limit !== undefined && command.getOptionValueSource('limit') !== 'cli') {
    words.push('--limit', String(options.limit));
  }
  if (options.filter !== undefined) words.push('--filter', shellWord(options.filter));
  if (options.until !== undefined) words.push('--until', shellWord(until || options.until));
  return [...words, '--cursor', shellWord(cursor)].join(' ');
}

function flagWords(option: Option, value: unknown): string[] {
  const flag = option.long ?? option.short ?? '';
  if (typeof value === 'boolean') return [flag];
  // Filters have commas of their own.
  if (option.attributeName() === 'selector') return (value as string[]).flatMap((each) => [flag, shellWord(each)]);
  return [flag, shellWord(Array.isArray(value) ? value.join(',') : String(value))];
}

/** Refuses an empty value: it is probably a script's unset variable, and would request more than was meant. */
function filled(flag: string, without = ''): (text: string) => string {
  return (text) => {
    if (text.trim() !== '') return text;
    throw new BackplaneError('invalid_argument', `${flag} must not be empty: leave it out ${without}`.trim());
  };
}

function collect(flag: string, every: string): (value: string, before?: string[]) => string[] {
  const check = filled(flag, `for ${every}`);
  return (value, before = []) => [...before, ...value.split(',').map((item) => check(item).trim())];
}

/** Checked at once, so that the flag is named where it is wrong. */
function selectors(value: string, before: string[] = []): string[] {
  parseSelector(value);
  return [...before, value];
}

function count(flag: string, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= 1 && value <= max) return value;
    throw new BackplaneError(
      'invalid_argument',
      `${flag} must be a whole number from 1 to ${max}, got ${JSON.stringify(text)}`,
    );
  };
}
