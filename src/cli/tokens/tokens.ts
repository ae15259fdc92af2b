/** `backplane tokens issue|list|revoke`: changes the file of issued tokens, which a broker reads by itself. */
import type { Command } from 'commander';
import { type IssuedToken, issueToken } from '../../access/issued-tokens.js';
import { changeTokens, readTokens, tokensFile } from '../../access/tokens-file.js';
import type { SettingKey } from '../../config/settings.js';
import { BackplaneError } from '../../errors.js';
import { TOKEN_DAYS_MAX } from '../../limits.js';
import { didYouMean, nearest } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { durationMsText, parseDurationMs } from '../../text/time-text.js';
import { jsonLine, outputOption, tableWidth } from '../lists/list.js';
import { Screen } from '../observe/screen.js';
import { fittedTable } from '../render/columns.js';
import { safeText } from '../render/text.js';
import { addSettingFlags, commandConfig } from '../setting-flags.js';

const KEYS: readonly SettingKey[] = ['tokens', 'data.dir'];
const EXPIRES_MS_MAX = TOKEN_DAYS_MAX * 24 * 3_600_000;

export function define(command: Command): void {
  defineIssue(command.command('issue').description('make a token, print it once, and add its hash to the file'));
  defineList(command.command('list').description('list the tokens: whose they are, and until when'));
  defineRevoke(command.command('revoke').description('take a token back: within a second no broker takes it'));
}

function defineIssue(command: Command): void {
  command
    .argument('<name>', 'the identity, to which roles are bound')
    .requiredOption('--expires <duration>', 'how long it holds, like 30d or 12h');
  addSettingFlags(command, KEYS);
  command.action(async (name: string) => {
    const expiresMs = expiry(command.opts<{ expires: string }>().expires);
    const nowMs = Date.now();
    const { token, entry } = changeTokens(await fileOf(command), nowMs, (known) => {
      const issued = issueToken(known, name, nowMs + expiresMs, nowMs);
      return { tokens: [...known, issued.entry], answer: issued };
    });
    // Only the token goes to stdout, so that it can go into a file.
    process.stderr.write(`${entry.id} for ${safeText(name)}, until ${timeText(entry)}: it is shown only now\n`);
    await new Screen(process.stdout, process.stderr).print(`${token}\n`);
  });
}

function defineList(command: Command): void {
  command.addOption(outputOption());
  addSettingFlags(command, KEYS);
  command.action(async () => {
    const nowMs = Date.now();
    const tokens = readTokens(await fileOf(command), nowMs);
    const { output } = command.opts<{ output: string }>();
    const text = output === 'json' ? jsonOf(tokens, nowMs) : tableOf(tokens, nowMs, tableWidth(output));
    await new Screen(process.stdout, process.stderr).print(text);
  });
}

function defineRevoke(command: Command): void {
  command.argument('<id>', 'its id, as "tokens list" shows it');
  addSettingFlags(command, KEYS);
  command.action(async (id: string) => {
    const file = await fileOf(command);
    const revoked = changeTokens(file, Date.now(), (known) => {
      const found = known.find((each) => each.id === id);
      if (found === undefined) {
        const meant = didYouMean(
          nearest(
            id,
            known.map((each) => each.id),
          ),
        );
        throw new BackplaneError('not_found', `${file} has no token ${shown(id)}${meant}`);
      }
      return { tokens: known.filter((each) => each !== found), answer: found };
    });
    await new Screen(process.stdout, process.stderr).print(`${id} of ${safeText(revoked.identity)}\n`);
  });
}

async function fileOf(command: Command): Promise<string> {
  const { settings } = await commandConfig(command, KEYS);
  return tokensFile(settings.tokens, settings['data.dir']);
}

function expiry(text: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms >= 1000 && ms <= EXPIRES_MS_MAX) return ms;
  const bound = `a duration of 1s to ${durationMsText(EXPIRES_MS_MAX)}, like 30d`;
  throw new BackplaneError('invalid_argument', `--expires must be ${bound}, got ${shown(text)}`);
}

function timeText({ expiresMs }: IssuedToken): string {
  return new Date(expiresMs).toISOString().replace(/\.\d+Z$/, 'Z');
}

function stateOf({ expiresMs }: IssuedToken, nowMs: number): string {
  return expiresMs > nowMs ? 'live' : 'expired';
}

function jsonOf(tokens: readonly IssuedToken[], nowMs: number): string {
  return tokens
    .map((token) => {
      const { id, identity } = token;
      return jsonLine({ id, identity, expires: timeText(token), state: stateOf(token, nowMs) });
    })
    .join('');
}

function tableOf(tokens: readonly IssuedToken[], nowMs: number, width: number | undefined): string {
  const rows = tokens.map((token) => [token.id, safeText(token.identity), timeText(token), stateOf(token, nowMs)]);
  return fittedTable([{ title: 'ID' }, { title: 'IDENTITY' }, { title: 'UNTIL' }, { title: 'STATE' }], rows, width);
}
