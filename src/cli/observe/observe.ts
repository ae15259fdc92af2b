/** `backplane observe`: events from the past, live, or both, until there are no more or Ctrl-C. */
import type { Command } from 'commander';
import type { Client } from '../../client/client.js';
import { documentLogOf } from '../../wire/event/document-topics.js';
import { messageToJson } from '../../wire/message-json.js';
import type { Accepted, SubscribeRequest } from '../../wire/messages.js';
import { commandName } from '../command-name.js';
import { CLIENT_KEYS, clientOf } from '../connection/credentials.js';
import { inFlagNames } from '../flag-names.js';
import { compileSooner } from '../process/heap.js';
import { INTERRUPTED, watchInterrupt } from '../process/interrupt.js';
import { type EventLines, eventLines } from '../render/event-lines.js';
import { parseShownFields } from '../render/field-mask.js';
import { choosePalette, takesEscapes } from '../render/palette.js';
import { planText } from '../render/plan.js';
import { jsonText } from '../render/text.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { Completeness } from './completeness.js';
import { GroupCommits } from './group-commits.js';
import { observeHelp } from './observe-help.js';
import {
  addObserveFlags,
  type ObserveOptions,
  readOptions,
  resumeCommand,
  subscribeRequest,
} from './observe-options.js';
import { ObserveOutput } from './observe-output.js';
import { Screen } from './screen.js';
import { unmatchedNodes } from './unmatched-nodes.js';

/** Exit code when a part of the requested events is missing. */
const INCOMPLETE = 4;

const EXIT_CODES = `
Exit codes: 0 all that was asked for came, 1 failed, 2 refused, ${INCOMPLETE} incomplete
(a node was absent, broke off, did not answer or does not exist, or the
recording no longer had all of the window or was damaged), ${INTERRUPTED} interrupted.`;

export function define(command: Command): void {
  addObserveFlags(command);
  command
    .addHelpText('after', () => `${observeHelp()}\n${EXIT_CODES}`)
    .action(async () => {
      const client = clientOf(await commandConfig(command, CLIENT_KEYS));
      try {
        process.exitCode = await observe(client, command);
      } catch (thrown) {
        throw inFlagNames(thrown);
      } finally {
        client.close();
      }
    });
  addSettingFlags(command, CLIENT_KEYS);
}

async function observe(client: Client, command: Command): Promise<number> {
  const options = readOptions(command);
  const request = subscribeRequest(options);
  const screen = new Screen(process.stdout, process.stderr, options.color && takesEscapes(process.stderr, process.env));
  const terminal = process.stdout.isTTY === true;
  if (options.printPlan === true) {
    const answer = await client.explain(request);
    const json = options.output.startsWith('json');
    await screen.print(
      json
        ? `${jsonText(messageToJson(answer), terminal)}\n`
        : planText(answer, terminal ? process.stdout.columns || 80 : undefined),
    );
    return 0;
  }
  if (request.follow) compileSooner();
  const output = new ObserveOutput(screen, {
    lines: linesOf(options, terminal),
    history: request.follow !== true || Boolean(request.since || request.last || request.cursor),
    follow: request.follow === true,
    verbose: options.verbose === true,
    utc: options.utc === true,
    cursors: options.cursors === true,
    terminal,
  });
  const completeness = new Completeness(Boolean(request.since || request.cursor), request.refill === true);
  const interrupt = watchInterrupt();
  screen.endsBy(interrupt.signal);
  const ends = new AbortController();
  const commits =
    options.group === undefined
      ? undefined
      : new GroupCommits(client, options.group, output, (text) => screen.notice(text));
  let accepted = false;
  try {
    const signal = AbortSignal.any([ends.signal, screen.gone]);
    // What was printed is committed while this still is a member.
    const end = async () => {
      await commits?.commit();
      ends.abort();
    };
    interrupt.signal.addEventListener('abort', () => void end(), { once: true });
    if (interrupt.signal.aborted) ends.abort();
    for await (const item of client.subscribe(request, signal)) {
      if (interrupt.signal.aborted) continue;
      completeness.saw(item);
      // Only once: after a reconnect the subscription is accepted again.
      if (item.kind === 'accepted' && !accepted) {
        accepted = true;
        await noticeNodes(client, request, screen, item.accepted, completeness);
      }
      await output.show(item);
      await commits?.shown(item);
    }
  } finally {
    await output.end();
    commits?.close();
    interrupt.release();
  }
  // A reader that has gone got what it wanted; where it stopped is unknown. Of a full disk the command line tells.
  if (screen.gone.aborted) return interrupt.signal.aborted ? INTERRUPTED : 0;
  const missing = interrupt.signal.aborted ? undefined : completeness.missing();
  if (missing !== undefined) screen.notice(`incomplete: ${missing}`);
  if (commits === undefined && output.cursor !== '' && (interrupt.signal.aborted || options.output !== 'jsonpb')) {
    const { dim } = choosePalette(process.stderr, process.env, options.color);
    screen.notice(`resume with ${resumeCommand(command, options, output.cursor, output.until)}`, dim);
  }
  if (interrupt.signal.aborted) return INTERRUPTED;
  return missing === undefined ? 0 : INCOMPLETE;
}

/** Notices about requested nodes that are not connected: a replay lacks them, a stream that goes on waits for them. */
async function noticeNodes(
  client: Client,
  { nodes = [], topics = [], follow }: SubscribeRequest,
  screen: Screen,
  { nodes: answered, nodesMissing, beginsLater }: Accepted,
  completeness: Completeness,
): Promise<void> {
  // Of what is published no node is asked.
  const asksNodes = topics.length === 0 || topics.some((topic) => documentLogOf(topic) === undefined);
  if (asksNodes && answered.length + nodesMissing.length === 0) {
    if (beginsLater.length > 0) screen.notice("no connected node's recording reaches back into the window");
    else if (nodes.length === 0) screen.notice(`no node is connected: see "${commandName()} nodes"`);
  }
  const unmatched = await unmatchedNodes(client, nodes);
  if (!follow) for (const sentence of unmatched) completeness.unmatched(sentence);
  else if (unmatched.length > 0) screen.notice(`${unmatched.join('; ')}: waiting for it`);
}

/** Undefined for jsonpb, which prints other items besides events. */
function linesOf(options: ObserveOptions, terminal: boolean): EventLines | undefined {
  if (options.output === 'jsonpb') return undefined;
  return eventLines(options.output, {
    palette: choosePalette(process.stdout, process.env, options.color),
    mask: options.fieldMask === undefined ? undefined : parseShownFields(options.fieldMask),
    times: { format: options.timeFormat, utc: options.utc === true },
    terminal,
    selectors: options.selector !== undefined,
  });
}
