/** `backplane nodes set-budget NODE...`: what nodes may send, live and from their recorders. */
import type { Command } from 'commander';
import { BackplaneError } from '../../errors.js';
import { parseBytes } from '../../text/size-text.js';
import { messageToJson } from '../../wire/message-json.js';
import type { BudgetChange__Output } from '../../wire/messages.js';
import { CLIENT_KEYS, clientOf } from '../connection/credentials.js';
import { Screen } from '../observe/screen.js';
import { compactBytes } from '../render/bytes.js';
import { type Column, fittedTable } from '../render/columns.js';
import { safeText } from '../render/text.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';
import { jsonLine, outputOption, tableWidth } from './list.js';

interface Options {
  readonly liveBytes?: string;
  readonly liveEvents?: string;
  readonly historyBytes?: string;
  readonly reset?: true;
}

export function defineSetBudget(command: Command): void {
  command
    .argument('<node...>', 'names or globs')
    .option('--live-bytes <size>', 'live bytes per second, like 512KiB')
    .option('--live-events <count>', 'live events per second')
    .option('--history-bytes <size>', 'bytes per second from the recorder')
    .addOption(outputOption())
    .option('--reset', "take back what was set: the node's own settings hold again");
  addSettingFlags(command, CLIENT_KEYS);
  command.action(async (nodes: readonly string[]) => {
    const config = await commandConfig(command, CLIENT_KEYS);
    const budget = budgetOf(command.opts<Options>());
    const client = clientOf(config);
    try {
      const answer = await client.setBudget({ nodes: [...nodes], budget });
      const screen = new Screen(process.stdout, process.stderr);
      // The parent command has the same flag, and takes it wherever it stands.
      const { output } = command.optsWithGlobals<{ output: string }>();
      const json = () => answer.changes.map((change) => jsonLine(messageToJson(change))).join('');
      await screen.print(output === 'json' ? json() : changesText(answer.changes, tableWidth(output)));
    } finally {
      client.close();
    }
  });
}

/** What each node could send, and can send now. */
function changesText(changes: readonly BudgetChange__Output[], width?: number): string {
  const rows = changes.map(({ node, before, after }) => [
    safeText(node),
    changeText(before?.liveBytesPerSecond, after?.liveBytesPerSecond, compactBytes),
    changeText(before?.liveEventsPerSecond, after?.liveEventsPerSecond),
    changeText(before?.historyBytesPerSecond, after?.historyBytesPerSecond, compactBytes),
  ]);
  return fittedTable(CHANGE_COLUMNS, rows, width);
}

const CHANGE_COLUMNS: readonly Column[] = [
  { title: 'NODE' },
  { title: 'LIVE/S' },
  { title: 'EVENTS/S' },
  { title: 'HISTORY/S' },
];

/** `1.0 MiB → 512.0 KiB`, or the one where they are the same. */
function changeText(before = '0', after = '0', text: (rate: string) => string = String): string {
  // Without a set budget only a connected node knows its rate.
  const [from, to] = [before, after].map((rate) => (rate === '0' ? "the node's own" : text(rate)));
  return before === after ? `${to}` : `${from} → ${to}`;
}

function budgetOf({ liveBytes, liveEvents, historyBytes, reset }: Options) {
  const given = [liveBytes, liveEvents, historyBytes].some((value) => value !== undefined);
  if (given === (reset === true)) {
    throw new BackplaneError(
      'invalid_argument',
      'give rates (--live-bytes, --live-events, --history-bytes) or --reset',
    );
  }
  if (reset) return null;
  return {
    liveBytesPerSecond: bytes('--live-bytes', liveBytes),
    liveEventsPerSecond: count('--live-events', liveEvents),
    historyBytesPerSecond: bytes('--history-bytes', historyBytes),
  };
}

function bytes(flag: string, text: string | undefined): number {
  if (text === undefined) return 0;
  const value = parseBytes(text);
  if (!value) throw new BackplaneError('invalid_argument', `${flag} must be a size above 0 like 512KiB, got ${text}`);
  return value;
}

function count(flag: string, text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^[1-9]\d{0,14}$/.test(text)) {
    throw new BackplaneError('invalid_argument', `${flag} must be a whole number above 0, got ${text}`);
  }
  return Number(text);
}
