/** The command to type to run this program again: never a name that another program might answer to. */
import { accessSync, constants } from 'node:fs';
import { basename, delimiter, dirname } from 'node:path';
import { packageFile } from '../package-files.js';
import { shellWord } from './render/text.js';

/** A checkout has the executable beside its build; an installed package has not. */
const CHECKOUT_COMMAND = packageFile('backplane');

/**
 * `./backplane` within a checkout and its path from elsewhere; `backplane` where the installed command is on the PATH;
 * else how it was started.
 */
export function commandName(
  { argv, env, directory } = { argv: process.argv, env: process.env, directory: ownDirectory() },
  checkoutCommand = CHECKOUT_COMMAND,
): string {
  if (isExecutable(checkoutCommand))
    return dirname(checkoutCommand) === directory ? './backplane' : shellWord(checkoutCommand);
  const script = argv[1] ?? '';
  if (basename(script) !== 'backplane') return `node ${shellWord(script)}`;
  return (env.PATH ?? '').split(delimiter).includes(dirname(script)) ? 'backplane' : shellWord(script);
}

/** Replaces `backplane VERB` in a text by the command that works here. */
export function asTyped(text: string, name = commandName()): string {
  return text.replace(/(^|["(])backplane (?=[a-z])/g, (_, before: string) => `${before}${name} `);
}

/** Empty where it was removed. */
function ownDirectory(): string {
  try {
    return process.cwd();
  } catch {
    return '';
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
