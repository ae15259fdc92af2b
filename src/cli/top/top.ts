/** `backplane top`: nodes and subscriptions by what they do per second, again and again. */
import { emitKeypressEvents } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Client } from '../../client/client.js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { CLIENT_KEYS, clientOf } from '../connection/credentials.js';
import { intervalMsOf, jsonLine } from '../lists/list.js';
import { Screen } from '../observe/screen.js';
import { INTERRUPTED, watchInterrupt } from '../process/interrupt.js';
import { takesEscapes } from '../render/palette.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { RateMeter, type Rates, type Sample } from './rates.js';
import { afterKey, initialState, type Key, plainText, screenful, type TopState } from './screenful.js';
import { columnTitles, type Order, VIEWS, type View } from './table.js';

interface TopOptions {
  readonly output: 'table' | 'json';
  readonly interval: string;
  readonly count?: string;
  readonly view: View;
  readonly sort?: string;
  readonly filter: string;
}

const INTERVAL_DEFAULT = '2s';
const COUNT_MAX = 1_000_000;
/** The other screen of the terminal, without a cursor, so that what was there before is there afterwards. */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_TO_LINE_END = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

export function define(command: Command): void {
  command.addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'));
  command.option('-i, --interval <duration>', 'how often to look', INTERVAL_DEFAULT);
  command.option('-n, --count <looks>', 'end after so many looks that have rates');
  command.addOption(new Option('--view <view>', 'what to show first').choices(VIEWS).default('nodes'));
  command.option('--sort <column>', 'the column to sort by, the greatest first: its title, such as CPU');
  command.option('--filter <text>', 'only rows with this text', '');
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async () => {
    const options = command.opts<TopOptions>();
    const state = initialState(options.view, orderOf(options), options.filter);
    const looks = { intervalMs: intervalMsOf('--interval', options.interval), count: countOf(options.count) };
    const client = clientOf(await commandConfig(command, CLIENT_KEYS));
    try {
      const interactive = options.output === 'table' && takesEscapes(process.stdout, process.env);
      process.exitCode = interactive
        ? await interact(client, state, looks)
        : await print(client, looks, options.output === 'json' ? jsonLine : (rates) => plainText(state, rates));
    } finally {
      client.close();
    }
  });
}

interface Looks {
  readonly intervalMs: number;
  readonly count: number;
}

/** Prints each look's rates; the first look has none. Returns the exit code. */
async function print(client: Client, looks: Looks, text: (rates: Rates) => string): Promise<number> {
  const screen = new Screen(process.stdout, process.stderr);
  const interrupt = watchInterrupt();
  screen.endsBy(interrupt.signal);
  const signal = AbortSignal.any([interrupt.signal, screen.gone]);
  let printed = 0;
  const onTrouble = (trouble: string) => screen.notice(trouble);
  for await (const rates of rateSeries(client, looks.intervalMs, signal, () => true, onTrouble)) {
    await screen.print(text(rates));
    if (++printed >= looks.count) break;
  }
  interrupt.release();
  return interrupt.signal.aborted ? INTERRUPTED : 0;
}

/** Shows the latest look on the whole terminal and takes keys. Returns the exit code. */
async function interact(client: Client, start: TopState, looks: Looks): Promise<number> {
  const { stdout } = process;
  let state = start;
  let rates: Rates | undefined;
  let trouble = '';
  let shown = 0;
  const ended = new AbortController();
  const restore = () => stdout.write(LEAVE);
  const interrupt = watchInterrupt(restore);
  const signal = AbortSignal.any([interrupt.signal, ended.signal]);
  const draw = () => {
    if (rates === undefined || signal.aborted) return;
    const lines = screenful(state, rates, stdout.columns || 80, (stdout.rows || 24) - Number(trouble !== ''));
    if (trouble !== '') lines.push(trouble.slice(0, stdout.columns || 80));
    stdout.write(HOME + lines.map((line) => line + CLEAR_TO_LINE_END).join('\r\n') + CLEAR_BELOW);
  };
  const onKey = (_text: string | undefined, key: Key) => {
    const next = afterKey(state, key);
    if (next === undefined) ended.abort();
    else state = next;
    draw();
  };
  stdout.on('error', () => ended.abort());
  stdout.on('resize', draw);
  const keys = takeKeys(onKey);
  stdout.write(ENTER);
  try {
    const wanted = () => state.view === 'subscriptions';
    const series = rateSeries(client, looks.intervalMs, signal, wanted, (message) => {
      trouble = message;
      draw();
    });
    for await (const next of series) {
      trouble = '';
      if (!state.paused || rates === undefined) rates = next;
      draw();
      if (++shown >= looks.count) break;
    }
  } finally {
    restore();
    stdout.off('resize', draw);
    keys.release();
    interrupt.release();
  }
  return interrupt.signal.aborted ? INTERRUPTED : 0;
}

/** Keys come one by one, unseen, while standard input is a terminal; else there are none. */
function takeKeys(onKey: (text: string | undefined, key: Key) => void): { release(): void } {
  const { stdin } = process;
  if (!stdin.isTTY) return { release: () => {} };
  emitKeypressEvents(stdin);
  stdin.setRawMode(true);
  stdin.on('keypress', onKey);
  stdin.resume();
  return {
    release() {
      stdin.off('keypress', onKey);
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
}

/**
 * Rates from each look on, until `signal`. Waits for a broker that does not answer, and tells `onTrouble` of it.
 * @param wanted whether subscriptions are looked at
 */
async function* rateSeries(
  client: Client,
  intervalMs: number,
  signal: AbortSignal,
  wanted: () => boolean,
  onTrouble: (message: string) => void,
): AsyncGenerator<Rates> {
  const meter = new RateMeter();
  for (let begun = false; !signal.aborted; ) {
    const now = await sampleOf(client, wanted(), begun ? onTrouble : undefined);
    const rates = now && meter.take(now);
    begun = true;
    if (rates !== undefined) yield rates;
    await pause(intervalMs, signal);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

/** Undefined when the broker did not answer; without `onTrouble` that is an error. */
async function sampleOf(
  client: Client,
  wanted: boolean,
  onTrouble: ((message: string) => void) | undefined,
): Promise<Sample | undefined> {
  try {
    const [status, { nodes }, { subscriptions }] = await Promise.all([
      client.getStatus(),
      client.listNodes(),
      wanted ? client.listSubscriptions() : { subscriptions: [] },
    ]);
    return { atMs: performance.now(), status, nodes, subscriptions };
  } catch (cause) {
    const error = asBackplaneError(cause);
    if (onTrouble === undefined || error.code !== 'unavailable') throw error;
    onTrouble(error.message);
    return undefined;
  }
}

function orderOf({ view, sort }: TopOptions): Order | undefined {
  if (sort === undefined) return undefined;
  const titles = columnTitles(view);
  const column = titles.indexOf(sort.toUpperCase());
  if (column >= 0) return { column, descending: true };
  throw new BackplaneError('invalid_argument', `--sort must be one of ${titles.join(', ')}, got ${sort}`);
}

function countOf(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= COUNT_MAX) return count;
  throw new BackplaneError('invalid_argument', `--count must be 1 to ${COUNT_MAX}, got ${text}`);
}
