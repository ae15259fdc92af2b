/**
 * `backplane completion SHELL`: a script for the shell that completes verbs, flags and the words that flags accept. It
 * is generated from the commands themselves, so that it always matches them.
 */
import { Argument, type Command } from 'commander';
import { flagName, SETTING_KEYS, SETTINGS } from '../../config/settings.js';
import { DOCUMENT_TOPICS } from '../../wire/event/document-topics.js';
import { TOPICS } from '../../wire/event/event.js';
import { commandLine } from '../verbs.js';
import { bashScript } from './completion-bash.js';
import { fishScript } from './completion-fish.js';
import { type CompletedCommand, completedCommands } from './completion-tree.js';
import { zshScript } from './completion-zsh.js';

const SCRIPTS: Readonly<Record<string, (commands: readonly CompletedCommand[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** Words of flags whose help does not list them, or that accept others too. */
const KNOWN_WORDS = {
  '--topic': [...Object.keys(TOPICS), ...Object.keys(DOCUMENT_TOPICS)],
  ...Object.fromEntries(
    SETTING_KEYS.flatMap((key) => {
      const setting = SETTINGS[key];
      return 'choices' in setting ? [[flagName(key), setting.choices]] : [];
    }),
  ),
};

export function define(command: Command): void {
  command.addArgument(new Argument('<shell>', 'whose completion').choices(Object.keys(SCRIPTS)));
  command.action(async (shell: string) => {
    const itself = { name: command.name(), summary: command.description(), load: async () => ({ define }) };
    const commands = completedCommands(await commandLine('all', itself), KNOWN_WORDS);
    process.stdout.write(SCRIPTS[shell]?.(commands) ?? '');
  });
}
