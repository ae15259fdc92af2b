/** Completion of zsh, as a function to load or to source. */
import type { CompletedCommand, CompletedOption } from './completion-tree.js';

export function zshScript(commands: readonly CompletedCommand[]): string {
  const paths = commands.filter(({ path }) => path.length > 0).map(({ path }) => `' ${path.join(' ')}'`);
  const values = commands.flatMap(({ path, options }) =>
    options.flatMap((option) => (option.value === 'none' ? [] : [valueCase(path, option)])),
  );
  return `#compdef backplane
# zsh completion of backplane: backplane completion zsh > a directory of $fpath, as _backplane
_backplane() {
  local current=\${words[CURRENT]} previous=\${words[CURRENT-1]} route='' word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$route $word" in
      ${paths.join('|')}) route="$route $word" ;;
    esac
  done
  case "$route|$previous" in
${values.join('\n')}
  esac
  case "$route" in
${commands.map(wordsCase).join('\n')}
  esac
}
if [[ \${funcstack[1]} == _backplane ]]; then _backplane "$@"; else compdef _backplane backplane; fi
`;
}

function valueCase(path: readonly string[], { flags, value, words }: CompletedOption): string {
  const patterns = flags.map((flag) => `'${pathText(path)}|${flag}'`).join('|');
  return `    ${patterns}) ${valueReply(value, words)} return ;;`;
}

function valueReply(value: CompletedOption['value'], words: readonly string[]): string {
  if (value === 'file') return '_files;';
  if (value === 'directory') return '_files -/;';
  return value === 'words' ? `compadd -- ${words.join(' ')};` : `_message value;`;
}

function wordsCase({ path, commands, options, words, files }: CompletedCommand): string {
  const flags = options.flatMap(({ flags: names, summary }) =>
    names.filter((name) => name.startsWith('--')).map((name) => described(name, summary)),
  );
  const plain = [
    ...commands.map(({ name, summary }) => described(name, summary)),
    ...words.map((word) => described(word, '')),
  ];
  const ofWords = files ? '_files -/' : `found=(${plain.join(' ')}); _describe command found`;
  const ofFlags = `found=(${flags.join(' ')}); _describe option found`;
  return `    '${pathText(path)}') if [[ $current == -* ]]; then ${ofFlags}; else ${ofWords}; fi ;;`;
}

/** As _describe wants it: 'name:what it is'. */
function described(name: string, summary: string): string {
  const text = summary === '' ? name : `${name}:${summary.replaceAll(':', '\\:')}`;
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function pathText(path: readonly string[]): string {
  return path.map((word) => ` ${word}`).join('');
}
