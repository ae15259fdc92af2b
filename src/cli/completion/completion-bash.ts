/** Completion of bash 4 and later. */
import type { CompletedCommand, CompletedOption } from './completion-tree.js';

export function bashScript(commands: readonly CompletedCommand[]): string {
  const paths = commands.filter(({ path }) => path.length > 0).map(({ path }) => `'${[' ', path.join(' ')].join('')}'`);
  const values = commands.flatMap(({ path, options }) =>
    options.flatMap((option) => (option.value === 'none' ? [] : [valueCase(path, option)])),
  );
  return `# bash completion of backplane: source <(backplane completion bash)
_backplane() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path='' word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
      ${paths.join(' | ')}) path="$path $word" ;;
    esac
  done
  case "$path|$previous" in
${values.join('\n')}
  esac
  case "$path" in
${commands.map(wordsCase).join('\n')}
  esac
}
complete -F _backplane backplane
`;
}

function valueCase(path: readonly string[], { flags, value, words }: CompletedOption): string {
  const patterns = flags.map((flag) => `'${pathText(path)}|${flag}'`).join(' | ');
  return `    ${patterns}) ${reply(value, words)} return ;;`;
}

function reply(value: CompletedOption['value'], words: readonly string[]): string {
  if (value === 'file') return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current");';
  if (value === 'directory') return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current");';
  return value === 'words' ? `mapfile -t COMPREPLY < <(compgen -W '${words.join(' ')}' -- "$current");` : '';
}

function wordsCase({ path, commands, options, words, files }: CompletedCommand): string {
  const flags = options.flatMap((option) => option.flags.filter((flag) => flag.startsWith('--')));
  const plain = [...commands.map(({ name }) => name), ...words];
  const directories = files ? ` [[ $current == -* ]] || { ${reply('directory', [])} };` : '';
  const all = `if [[ $current == -* ]]; then ${reply('words', flags)} else ${reply('words', plain)} fi;`;
  return `    '${pathText(path)}') ${all}${directories} ;;`;
}

function pathText(path: readonly string[]): string {
  return path.map((word) => ` ${word}`).join('');
}
