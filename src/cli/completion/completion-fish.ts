/** Completion of fish 3. */
import type { CompletedCommand, CompletedOption } from './completion-tree.js';

export function fishScript(commands: readonly CompletedCommand[]): string {
  const lines = commands.flatMap((command) => {
    const condition = conditionOf(command);
    return [
      ...command.commands.map(({ name, summary }) => line(condition, ['-f', '-a', name], summary)),
      ...(command.words.length > 0 ? [line(condition, ['-f', '-a', quoted(command.words.join(' '))], '')] : []),
      ...(command.files ? [line(condition, ['-a', quoted('(__fish_complete_directories)')], '')] : []),
      ...command.options.map((option) => line(condition, optionWords(option), option.summary)),
    ];
  });
  return `# fish completion of backplane: backplane completion fish > ~/.config/fish/completions/backplane.fish
complete -c backplane -f
${lines.join('\n')}
`;
}

/** True where the words so far lead to this command and to none below it. */
function conditionOf({ path, commands }: CompletedCommand): string {
  if (path.length === 0) return '__fish_use_subcommand';
  const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`);
  const below =
    commands.length === 0 ? [] : [`not __fish_seen_subcommand_from ${commands.map(({ name }) => name).join(' ')}`];
  return [...seen, ...below].join('; and ');
}

function optionWords({ flags, value, words }: CompletedOption): string[] {
  const names = flags.flatMap((flag) => (flag.startsWith('--') ? ['-l', flag.slice(2)] : ['-s', flag.slice(1)]));
  if (value === 'none') return names;
  if (value === 'words') return [...names, '-x', '-a', quoted(words.join(' '))];
  if (value === 'directory') return [...names, '-x', '-a', quoted('(__fish_complete_directories)')];
  return value === 'file' ? [...names, '-r', '-F'] : [...names, '-x'];
}

function line(condition: string, words: readonly string[], summary: string): string {
  const description = summary === '' ? '' : ` -d ${quoted(summary)}`;
  return `complete -c backplane -n ${quoted(condition)} ${words.join(' ')}${description}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
