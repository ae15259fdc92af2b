/** What nodes, topics, subscriptions and status share: ask a broker, print a table or JSON, once or again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Client } from '../../client/client.js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { WATCH_INTERVAL_MS_MAX, WATCH_INTERVAL_MS_MIN } from '../../limits.js';
import { wallNowNs } from '../../nanoseconds.js';
import { parseDurationMs } from '../../text/time-text.js';
import { messageToJson } from '../../wire/message-json.js';
import { CLIENT_KEYS, clientOf } from '../connection/credentials.js';
import { Screen } from '../observe/screen.js';
import { INTERRUPTED, watchInterrupt } from '../process/interrupt.js';
import { takesEscapes } from '../render/palette.js';
import { jsonText } from '../render/text.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';

export interface List<Answer extends object> {
  readonly ask: (client: Client) => Promise<Answer>;
  /** The answer for people: lines of safe text. Tables are at most `width` columns wide; undefined: all columns. */
  readonly text: (answer: Answer, nowNs: bigint, width: number | undefined) => string;
  /** The answer's items, one JSON line each; undefined: the answer itself is the one line. */
  readonly items?: (answer: Answer) => readonly object[];
}

type Format = 'table' | 'wide' | 'json';

interface ListOptions {
  readonly output: Format;
  readonly watch?: string | true;
}

const WATCH_DEFAULT = '2s';
/** Moves the cursor home and clears screen and scrollback. */
const CLEAR_SCREEN = '\x1b[H\x1b[2J\x1b[3J';

export function defineList<Answer extends object>(command: Command, list: List<Answer>): void {
  command.addOption(outputOption());
  command.option(
    '-w, --watch [interval]',
    `print it again and again, each time after this long (default ${WATCH_DEFAULT})`,
  );
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async () => {
    // A parent command with the same flags takes them wherever they stand.
    const { output, watch } = command.optsWithGlobals<ListOptions>();
    const intervalMs =
      watch === undefined ? undefined : intervalMsOf('--watch', watch === true ? WATCH_DEFAULT : watch);
    const client = clientOf(await commandConfig(command, CLIENT_KEYS));
    const screen = new Screen(process.stdout, process.stderr);
    const show = async (clear: string) => {
      const answer = await list.ask(client);
      await screen.print(clear + listText(list, answer, output));
    };
    try {
      await show('');
      if (intervalMs !== undefined) process.exitCode = await watchList(show, screen, intervalMs);
    } finally {
      client.close();
    }
  });
}

export function outputOption(): Option {
  return new Option('-o, --output <format>', 'how to print; wide: every column, however wide the terminal is')
    .choices(['table', 'wide', 'json'])
    .default('table');
}

/** Undefined where all columns are wanted: output that is no terminal always gets the same table. */
export function tableWidth(output: string): number | undefined {
  return output === 'table' && process.stdout.isTTY === true ? process.stdout.columns || 80 : undefined;
}

function listText<Answer extends object>(list: List<Answer>, answer: Answer, output: Format): string {
  if (output === 'json') return jsonLines(list, answer);
  return list.text(answer, wallNowNs(), tableWidth(output));
}

/** Repeats until Ctrl-C or until the reader has gone. Waits for a broker that does not answer. */
async function watchList(show: (clear: string) => Promise<void>, screen: Screen, intervalMs: number): Promise<number> {
  const interrupt = watchInterrupt();
  screen.endsBy(interrupt.signal);
  const signal = AbortSignal.any([interrupt.signal, screen.gone]);
  const clear = takesEscapes(process.stdout, process.env) ? CLEAR_SCREEN : '\n';
  for (;;) {
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    try {
      await show(clear);
    } catch (cause) {
      const error = asBackplaneError(cause);
      if (error.code !== 'unavailable') throw error;
      screen.notice(error.message);
    }
  }
  interrupt.release();
  return interrupt.signal.aborted ? INTERRUPTED : 0;
}

/** Between two looks. Throws invalid_argument that names the flag. */
export function intervalMsOf(flag: string, text: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms >= WATCH_INTERVAL_MS_MIN && ms <= WATCH_INTERVAL_MS_MAX) return ms;
  throw new BackplaneError('invalid_argument', `${flag} must be a duration of 100ms to 1d, like 2s, got ${text}`);
}

function jsonLines<Answer extends object>(list: List<Answer>, answer: Answer): string {
  const items = list.items?.(answer) ?? [answer];
  return items.map((item) => jsonLine(messageToJson(item))).join('');
}

/** A line for stdout; on a terminal, control characters are escaped. */
export function jsonLine(value: unknown): string {
  return `${jsonText(value, process.stdout.isTTY === true)}\n`;
}
