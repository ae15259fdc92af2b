/** Writes docs/kernels.md: what each kernel gave, as the runs of it saw. */
import fs from 'node:fs';

export interface KernelResult {
  /** As `uname -r` has it. */
  readonly release: string;
  /** What `doctor` said there, by the name of its check. */
  readonly checks: ReadonlyMap<string, { readonly state: string; readonly detail: string }>;
  readonly tests: readonly { readonly title: string; readonly state: 'passed' | 'failed' | 'skipped' }[];
}

/** Checks of `doctor` that differ from kernel to kernel. */
const SHOWN = [
  'sub-buffers',
  'kernel filters',
  'system call events',
  'profile security',
  'profile file',
  'profile udp',
  'uprobes',
  'kprobes',
  'event probes',
  'arguments of programs',
  'paths of files',
  'names in calls',
  'users of processes',
  'datagrams and names asked of DNS',
];
const CELL_CHARACTERS_MAX = 120;

const HEAD = `# Kernels

What the sensor was tried on: kernels of Debian, in software emulation, by \`npm run test:kernels\`, which writes these
tables (\`-- --arch arm64\` that of arm64). "passed" are tests by content: every kind of event and of program, those that end at once, static ones, 32-bit ones
(on amd64), scripts, containers', after \`kill -9\`, and the arguments of an unprivileged user who tries to harm whoever copies them. A name in brackets is where the kernel copies
arguments; the first that holds is used. Costs of kprobes are not measured on hardware.

`;

/** Replaces the table of an architecture; those of others stay. */
export function writeTable(path: string, architecture: string, results: readonly KernelResult[]): void {
  const rows = [
    ['', ...results.map(({ release }) => `Linux ${release}`)],
    ['---', ...results.map(() => '---')],
    ...SHOWN.map((name) => [name, ...results.map(({ checks }) => checkCell(checks.get(name)))]),
    ...[...new Set(results.flatMap(({ tests }) => tests.map(({ title }) => title)))].map((title) => [
      title,
      ...results.map(({ tests }) => tests.find((test) => test.title === title)?.state ?? ''),
    ]),
  ];
  const [, ...there] = fs.readFileSync(path, 'utf8').split(/^## /m);
  const sections = new Map(there.map((section) => [section.slice(0, section.indexOf('\n')), section.trimEnd()]));
  sections.set(architecture, `${architecture}\n\n${rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}`);
  const all = [...sections].sort(([one], [other]) => (one < other ? -1 : 1));
  fs.writeFileSync(path, `${HEAD}${all.map(([, section]) => `## ${section}\n`).join('\n')}`);
}

function checkCell(check: { readonly state: string; readonly detail: string } | undefined): string {
  if (check === undefined) return '';
  const [short = ''] = check.detail.replaceAll('|', '/').split(/[;:]/);
  return `${check.state}: ${short.slice(0, CELL_CHARACTERS_MAX)}`;
}
