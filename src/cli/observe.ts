/** `backplane observe`: events from the past, live, or both, until there are no more or Ctrl-C. */
import { type Command, Option } from 'commander';
import { BackplaneError } from '../errors.js';
import { LAST_MAX } from '../limits.js';
import type { Client } from '../subscriptions/client.js';
import { messageToJson } from '../wire/message-json.js';
import type { Accepted, SubscribeRequest } from '../wire/messages.js';
import { Completeness } from './completeness.js';
import { CLIENT_KEYS, clientOf } from './credentials.js';
import { INTERRUPTED, watchInterrupt } from './interrupt.js';
import { type ObserveFormat, ObserveOutput } from './observe-output.js';
import { type EventFormat, eventLines } from './render/event-lines.js';
import { parseFieldMask } from './render/field-mask.js';
import { choosePalette } from './render/palette.js';
import { planText } from './render/plan.js';
import { Screen } from './screen.js';
import { addSettingFlags, commandConfig } from './setting-flags.js';
import { unmatchedNodes } from './unmatched-nodes.js';

interface ObserveOptions {
  topic?: string[];
  node?: string[];
  filter?: string;
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
  verbose?: boolean;
  refill?: boolean;
  throttle?: string;
  throttleBy?: string[];
  lagPolicy?: string;
  lagMax?: string;
}

/** Exit code where a part of what was asked for is missing. */
const INCOMPLETE = 4;

const EXIT_CODES = `
Exit codes: 0 all that was asked for came, 1 failed, 2 refused, ${INCOMPLETE} incomplete (a node was absent,
broke off, did not answer or does not exist, or the recording no longer had all of the window or was damaged), ${INTERRUPTED} interrupted.`;

/** Shown when neither the window nor a count is given. */
const LAST_DEFAULT = 20;

export function define(command: Command): void {
  command
    .option('-t, --topic <topic>', 'only these topics (repeat, or comma-separated)', collect('--topic', 'every topic'))
    .option(
      '-n, --node <glob>',
      'only these nodes; * and ? match (repeat, or comma-separated)',
      collect('--node', 'every node'),
    )
    .option(
      '--filter <cel>',
      'only events for which this CEL expression is true',
      filled('--filter', 'for every event'),
    )
    .option('--since <time>', 'from here on: how long ago (5m) or RFC 3339', filled('--since'))
    .option('--until <time>', 'up to here: how long ago or RFC 3339', filled('--until'))
    .option(
      '--last <n>',
      `only the last N of the past (default ${LAST_DEFAULT} when no window is given)`,
      count('--last', LAST_MAX),
    )
    .option('-f, --follow', 'go on with live events; alone: live events only')
    .option('--limit <n>', 'end after N events', count('--limit', Number.MAX_SAFE_INTEGER))
    .addOption(new Option('--first <n>', 'the same as --limit').argParser(count('--first', Number.MAX_SAFE_INTEGER)))
    .option(
      '--cursor <cursor>',
      'resume exactly behind the event with this cursor',
      filled('--cursor', 'to begin anew'),
    )
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['compact', 'json', 'jsonpb', 'table', 'dict'])
        .default('compact'),
    )
    .option('--field-mask <fields>', 'only these fields (process.pid,process.executable.path); others are not sent')
    .option('--refill', 'with --follow: what nodes shed comes later, from their recorders')
    .option('--throttle <time>', 'at most one event in this time (5s) for each key', filled('--throttle'))
    .option(
      '--throttle-by <fields>',
      'the key: fields, node, topic (comma-separated; default one key for all)',
      collect('--throttle-by', 'one key for all events'),
    )
    .addOption(
      new Option('--lag-policy <policy>', 'when far behind: keep up with the log, or skip to its end').choices([
        'keep',
        'skip',
      ]),
    )
    .option('--lag-max <time>', 'how far behind is too far for skip (default 30s)', filled('--lag-max'))
    .option('--print-plan', 'print what runs where and end')
    .option('--include-self', "also events of Backplane's own processes")
    .option('--no-color', 'no colours, as with NO_COLOR')
    .option('-v, --verbose', 'state the coverage of every node, even where it is complete')
    .addHelpText('after', EXIT_CODES)
    .action(async () => {
      const client = clientOf(commandConfig(command, CLIENT_KEYS));
      try {
        process.exitCode = await observe(client, readOptions(command));
      } finally {
        client.close();
      }
    });
  addSettingFlags(command, CLIENT_KEYS);
}

async function observe(client: Client, options: ObserveOptions): Promise<number> {
  const request = subscribeRequest(options);
  const screen = new Screen(process.stdout, process.stderr);
  if (options.printPlan === true) {
    const answer = await client.explain(request);
    await screen.print(
      options.output.startsWith('json') ? `${JSON.stringify(messageToJson(answer))}\n` : planText(answer),
    );
    return 0;
  }
  const palette = choosePalette(process.stdout, process.env, options.color);
  const mask = options.fieldMask === undefined ? undefined : parseFieldMask(options.fieldMask);
  const format: EventFormat = options.output === 'jsonpb' ? 'json' : options.output;
  const output = new ObserveOutput(screen, {
    lines: options.output === 'jsonpb' ? undefined : eventLines(format, { palette, mask, nowMs: Date.now }),
    history: request.follow !== true || Boolean(request.since || request.last || request.cursor),
    verbose: options.verbose === true,
  });
  const completeness = new Completeness(Boolean(request.since || request.cursor), request.refill === true);
  const interrupt = watchInterrupt();
  let accepted = false;
  try {
    const signal = AbortSignal.any([interrupt.signal, screen.gone]);
    for await (const item of client.subscribe(request, signal)) {
      completeness.saw(item);
      // Once: after a break it is accepted again.
      if (item.kind === 'accepted' && !accepted) {
        accepted = true;
        await noticeNodes(client, request, screen, item.accepted, completeness);
      }
      await output.show(item);
    }
  } finally {
    output.end();
    interrupt.release();
  }
  if (screen.failure !== undefined) throw new BackplaneError('internal', `stdout: ${screen.failure.message}`);
  // A reader that has gone had what it wanted; where it stopped is not known here.
  if (screen.gone.aborted) return interrupt.signal.aborted ? INTERRUPTED : 0;
  const missing = interrupt.signal.aborted ? undefined : completeness.missing();
  if (missing !== undefined) screen.notice(`incomplete: ${missing}`);
  if (output.cursor !== '' && (interrupt.signal.aborted || options.output !== 'jsonpb')) {
    const { dim } = choosePalette(process.stderr, process.env, options.color);
    screen.notice(`resume with --cursor ${output.cursor}`, dim);
  }
  if (interrupt.signal.aborted) return INTERRUPTED;
  return missing === undefined ? 0 : INCOMPLETE;
}

/** What of the nodes that were asked for is not there: a replay lacks it, a stream that goes on waits for it. */
async function noticeNodes(
  client: Client,
  { nodes = [], follow }: SubscribeRequest,
  screen: Screen,
  { nodes: answered, nodesMissing }: Accepted,
  completeness: Completeness,
): Promise<void> {
  if (nodes.length === 0 && answered.length + nodesMissing.length === 0) {
    screen.notice('no node is connected: see "backplane nodes"');
  }
  const unmatched = await unmatchedNodes(client, nodes);
  if (!follow) for (const sentence of unmatched) completeness.unmatched(sentence);
  else if (unmatched.length > 0) screen.notice(`${unmatched.join('; ')}: waiting for it`);
}

function subscribeRequest(options: ObserveOptions): SubscribeRequest {
  const { topic = [], node = [], since = '', until = '', last = 0, limit = 0, cursor = '', follow = false } = options;
  const windowGiven = since !== '' || until !== '' || last !== 0 || limit !== 0 || cursor !== '' || follow;
  return {
    topics: topic,
    nodes: node,
    filter: options.filter ?? '',
    since,
    until,
    follow,
    last: windowGiven ? last : LAST_DEFAULT,
    limit: String(limit),
    cursor,
    includeSelf: options.includeSelf === true,
    fields: options.fieldMask === undefined ? [] : parseFieldMask(options.fieldMask).map((path) => path.join('.')),
    client: `observe (pid ${process.pid})`,
    refill: options.refill === true,
    throttle: options.throttle ?? '',
    throttleBy: options.throttleBy ?? [],
    lagPolicy: options.lagPolicy ?? '',
    lagMax: options.lagMax ?? '',
  };
}

/** What contradicts itself is refused here, with the names of the flags. */
function readOptions(command: Command): ObserveOptions {
  const { first, ...options } = command.opts<ObserveOptions & { first?: number }>();
  if (first !== undefined && options.limit !== undefined && first !== options.limit) {
    throw new BackplaneError(
      'invalid_argument',
      `--first ${first} and --limit ${options.limit} mean the same: give one`,
    );
  }
  if (options.cursor !== undefined && (options.since !== undefined || options.last !== undefined)) {
    const other = options.since === undefined ? '--last' : '--since';
    throw new BackplaneError('invalid_argument', `--cursor already says where to begin: leave out ${other}`);
  }
  const limit = options.limit ?? first;
  return limit === undefined ? options : { ...options, limit };
}

/** An empty value is a script's unset variable, and would ask for more than was meant. */
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
