/** The text below the flags in `observe --help`: the default view, the topics, and how to ask for them. */
import { TOPICS } from '../../wire/event/event.js';
import { commandName } from '../command-name.js';

const SHOWN = `
What is shown:
  With none of --all, --topic, --filter and --cursor: programs that start, TCP
  connections that are opened or accepted, what nodes say about themselves, and
  where a node's profiles allow them UDP peers and datagrams, names asked of DNS
  and the topics security, file and syscall. Left out are this command with the
  shell that started it, the broker and agents (--include-self); other commands
  of Backplane are shown like any program. With --print-plan it is printed as a
  filter.`;

const TIMES = `
Times:
  5m, 1h30m (ago), 04:00, 04:00:00.123, "2026-11-28 04:00", yesterday,
  "yesterday 04:00", RFC 3339; without a zone they are this machine's, with
  --utc UTC. Whatever is shown can be given.`;

export function observeHelp(): string {
  return [SHOWN, topics(), TIMES, examples(commandName())].join('\n');
}

function topics(): string {
  const lines = Object.entries(TOPICS).map(([topic, { types }]) => {
    const names = types.map((type) => type.slice(topic.length + 1)).join(', ');
    return `  ${topic.padEnd(9)} ${wrapped(names, 12)}`;
  });
  return ['', 'Topics, and the types of their events (process.exec, ...):', ...lines].join('\n');
}

/** Lines of at most 80 characters, the later ones indented. */
function wrapped(text: string, indent: number): string {
  return text.replace(/(.{1,66})(?: |$)/g, (_, line: string) => `${line}\n${' '.repeat(indent)}`).trimEnd();
}

function examples(name: string): string {
  const lines = [
    ['the last 20 events, or what happens from now on', 'observe', 'observe --follow'],
    ['the last five minutes, and then what happens', 'observe --since 5m --follow'],
    ['everything between two times', 'observe --all --since 04:00 --until 04:10'],
    ['programs below /tmp', `observe --since 1h --filter 'process.executable.path.startsWith("/tmp/")'`],
    ['connections to HTTPS of two nodes, as JSON', `observe -n 'web-*' --filter 'network.peer.port == 443' -o json`],
    [
      'two questions at once; lines say which of them they answer',
      `observe --selector 'web:network=network.peer.port == 443' --selector 'all:process='`,
    ],
    ['who kills what', `observe --topic security --follow --filter 'event.type == "security.kill"'`],
  ];
  const text = lines.map(([what, ...commands]) => [`  # ${what}`, ...commands.map((each) => `  ${name} ${each}`)]);
  return ['', 'Examples:', ...text.flat()].join('\n');
}
