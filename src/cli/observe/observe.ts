/** `backplane observe`: events from the past, live, or both, until there are no more or Ctrl-C. */
import type { Command } from 'commander';
import type { SubscribeItem } from '../../client/subscribe-item.js';
import { documentLogOf } from '../../wire/event/document-topics.js';
import { messageToJson } from '../../wire/message-json.js';
import type { ExplainResponse__Output as ExplainResponse, SubscribeRequest } from '../../wire/messages.js';
import { commandName } from '../command-name.js';
import { clusterClients } from '../connection/clusters.js';
import { CLIENT_KEYS } from '../connection/credentials.js';
import { inFlagNames } from '../flag-names.js';
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
import { Observed } from './observed.js';
import { Screen } from './screen.js';
import { unmatchedNodes } from './unmatched-nodes.js';

type AcceptedItem = Extract<SubscribeItem, { kind: 'accepted' }>;

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
      const config = await commandConfig(command, CLIENT_KEYS);
      let observed: Observed | undefined;
      try {
        const options = readOptions(command);
        observed = new Observed(clusterClients(config, options.clusters));
        process.exitCode = await observe(observed, options, command);
      } catch (thrown) {
        throw inFlagNames(thrown);
      } finally {
        observed?.close();
      }
    });
  addSettingFlags(command, CLIENT_KEYS);
}

async function observe(observed: Observed, options: ObserveOptions, command: Command): Promise<number> {
  const request = subscribeRequest(options);
  const screen = new Screen(process.stdout, process.stderr, options.color && takesEscapes(process.stderr, process.env));
  const terminal = process.stdout.isTTY === true;
  if (options.printPlan === true) {
    await screen.print(planOf(await observed.explain(request), options, terminal));
    return 0;
  }
  if (request.follow) (await import('../process/heap.js')).compileSooner();
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
      : new GroupCommits(observed.client(), options.group, output, (text) => screen.notice(text));
  const accepted = new Set<string | undefined>();
  try {
    const signal = AbortSignal.any([ends.signal, screen.gone]);
    // What was printed is committed while this still is a member.
    const end = async () => {
      await commits?.commit();
      ends.abort();
    };
    interrupt.signal.addEventListener('abort', () => void end(), { once: true });
    if (interrupt.signal.aborted) ends.abort();
    for await (const item of observed.subscribe(request, signal)) {
      if (interrupt.signal.aborted) continue;
      completeness.saw(item);
      // Only once: after a reconnect the subscription is accepted again.
      if (item.kind === 'accepted' && !accepted.has(item.cluster)) {
        accepted.add(item.cluster);
        await noticeNodes(observed, request, screen, item, completeness);
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
  observed: Observed,
  { nodes = [], topics = [], follow }: SubscribeRequest,
  screen: Screen,
  { accepted: { nodes: answered, nodesMissing, beginsLater }, cluster }: AcceptedItem,
  completeness: Completeness,
): Promise<void> {
  const of = cluster === undefined ? '' : `cluster ${cluster}: `;
  // A name that is given for every cluster need not be in each.
  const given = cluster === undefined ? nodes : nodes.flatMap((glob) => ownGlob(glob, cluster));
  // Of what is published no node is asked.
  const asksNodes = topics.length === 0 || topics.some((topic) => documentLogOf(topic) === undefined);
  if (asksNodes && answered.length + nodesMissing.length === 0) {
    if (beginsLater.length > 0) screen.notice(`${of}no connected node's recording reaches back into the window`);
    else if (nodes.length === 0) screen.notice(`${of}no node is connected: see "${commandName()} nodes"`);
  }
  const unmatched = (await unmatchedNodes(observed.client(cluster), given)).map((sentence) => of + sentence);
  if (!follow) for (const sentence of unmatched) completeness.unmatched(sentence);
  else if (unmatched.length > 0) screen.notice(`${unmatched.join('; ')}: waiting for it`);
}

function ownGlob(glob: string, cluster: string): string[] {
  return glob.startsWith(`${cluster}/`) ? [glob.slice(cluster.length + 1)] : [];
}

/** Of each cluster, where there are several. */
function planOf(answers: ReadonlyMap<string, ExplainResponse>, { output }: ObserveOptions, terminal: boolean): string {
  const width = terminal ? process.stdout.columns || 80 : undefined;
  const plans = Array.from(answers, ([cluster, answer]) => {
    const own = cluster === '' ? {} : { cluster };
    if (output.startsWith('json')) return `${jsonText({ ...own, ...messageToJson(answer) }, terminal)}\n`;
    return `${cluster === '' ? '' : `cluster ${cluster}:\n`}${planText(answer, width)}`;
  });
  return plans.join('');
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
