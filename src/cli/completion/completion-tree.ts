/** The data about commands that a shell needs to complete them. */
import type { Command, Option } from 'commander';

export interface CompletedOption {
  /** `-o`, `--output`. */
  readonly flags: readonly string[];
  readonly summary: string;
  readonly value: 'none' | 'words' | 'file' | 'directory' | 'any';
  /** Where the value is one of these. */
  readonly words: readonly string[];
}

export interface CompletedCommand {
  /** Its words below the program: empty for the program itself. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly CompletedOption[];
  /** Words that its first argument accepts. */
  readonly words: readonly string[];
  /** Its arguments are files. */
  readonly files: boolean;
}

/** `knownWords`: by flag, for those whose words are not all that they accept. */
export function completedCommands(
  program: Command,
  knownWords: Readonly<Record<string, readonly string[]>>,
): CompletedCommand[] {
  const walk = (command: Command, path: readonly string[]): CompletedCommand[] => {
    const children = command.commands.filter((child) => child.name() !== 'help');
    const [argument] = command.registeredArguments;
    const own: CompletedCommand = {
      path,
      summary: command.description(),
      commands: children.map((child) => ({ name: child.name(), summary: child.description() })),
      options: [
        ...command.options.map((option) => completedOption(option, knownWords)),
        { flags: ['-h', '--help'], summary: 'display help', value: 'none', words: [] },
      ],
      words: argument?.argChoices ?? [],
      files: argument?.name() === 'directory',
    };
    return [own, ...children.flatMap((child) => walk(child, [...path, child.name()]))];
  };
  return walk(program, []);
}

function completedOption(option: Option, knownWords: Readonly<Record<string, readonly string[]>>): CompletedOption {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined);
  const words = option.argChoices ?? knownWords[option.long ?? ''] ?? [];
  const metavariable = /[<[]([^>\]]+)[>\]]/.exec(option.flags)?.[1];
  return { flags, summary: option.description, value: valueKind(option, metavariable, words), words };
}

function valueKind(
  option: Option,
  metavariable: string | undefined,
  words: readonly string[],
): CompletedOption['value'] {
  // An option whose value is optional is completed like one without a value.
  if (!option.required) return 'none';
  if (words.length > 0) return 'words';
  return metavariable === 'file' || metavariable === 'directory' ? metavariable : 'any';
}
