/** Style that matters is a test: see the rules, each of which is tried on code that breaks it. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratchDirectory } from './harness/files/scratch-directory.js';
import * as rules from './tidy/rules.js';
import { readSource, type SourceFile } from './tidy/source-file.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Started, or imported by others: the command, the client library. */
const ENTRY_POINTS = ['src/cli/main.ts', 'src/client/library/grpc.ts', 'src/client/library/http.ts'];

function readAll(root: string): Map<string, SourceFile> {
  const paths = ['src', 'test', 'bench'].flatMap((folder) => {
    try {
      const names = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' });
      return names.filter((name) => name.endsWith('.ts')).map((name) => path.posix.join(folder, name));
    } catch {
      return [];
    }
  });
  return new Map(paths.sort().map((file) => [file, readSource(root, file)]));
}

const RULES = {
  'no file is too long': rules.longFiles,
  'no function is too long': rules.longFunctions,
  'private members are written #x': rules.privateModifiers,
  'no file is named utils': rules.namedForNothing,
  'no folder is too deep': rules.deepFolders,
  'no folder holds too much': rules.crowdedFolders,
  'every file says what it is': rules.headerless,
  'no any, nothing left to do': rules.forbiddenWords,
  'generated code is imported by src/wire only': rules.generatedOutsideWire,
  'no file of tracefs is truncated': rules.truncatedDefinitions,
  'leaders of streams are asked in one place': rules.rawQuestions,
  'dependencies point one way': rules.wrongDirection,
  'no import cycles': rules.importCycles,
  'no heavy starts': rules.heavyStarts,
  'no dead exports': (files: ReadonlyMap<string, SourceFile>) => rules.deadExports(files, ENTRY_POINTS),
  'no dead files': (files: ReadonlyMap<string, SourceFile>) => rules.deadFiles(files, ENTRY_POINTS),
} as const;

const repository = readAll(ROOT);

for (const [name, rule] of Object.entries(RULES)) {
  test(name, () => {
    const offences = rule(repository);
    assert.equal(offences.length, 0, `\n${offences.join('\n')}`);
  });
}

test('the scan of the repository finds files, functions and exports', () => {
  const all = [...repository.values()];
  assert.ok(all.length > 50);
  assert.ok(all.flatMap((file) => file.functions).length > 300);
  assert.ok(all.flatMap((file) => file.exports).length > 100);
});

const LONG_BODY = '  x();\n'.repeat(rules.FUNCTION_LINES_MAX);
/** Each line breaks one rule; the expected offence beside it. */
const BROKEN: readonly (readonly [keyof typeof RULES, Readonly<Record<string, string>>, readonly string[]])[] = [
  [
    'no file is too long',
    {
      'src/a.ts': 'x();\n'.repeat(351),
      'test/c.test.ts': 'x();\n'.repeat(351),
      'bench/b.ts': `import {\n  x,\n} from 'y';\n\n/** x */\n${'// x\n'.repeat(400)}${'x();\n'.repeat(350)}`,
    },
    ['src/a.ts:1: 351 lines of code, at most 350', 'test/c.test.ts:1: 351 lines of code, at most 350'],
  ],
  [
    'no function is too long',
    {
      'src/a.ts': [
        `function plain() {\n${LONG_BODY}}\n`,
        `class A {\n  #method<T>(a: T = f(1)): Promise<{ a: T }> {\n${LONG_BODY}  }\n}\n`,
        `const arrow = async (a: number) => {\n${LONG_BODY}};\n`,
        `const many = async (\n  a: number,\n): Promise<{ a: T; b: () => void } | undefined> => {\n${LONG_BODY.slice(7)}};\n`,
        `class B {\n  static #many<T>(\n    a: T,\n  ): Registry {\n${LONG_BODY.slice(7)}  }\n  b() {}\n}\n`,
        `if (a) {\n${LONG_BODY}}\nconst o = {\n${'  a: 1,\n'.repeat(80)}};\n`,
        'const t = `$' + '{[1].map((b) => {\n  return "}";\n})}`; const r = /[/{"]/; // {\n',
        'function short() {\n}\n',
      ].join(''),
    },
    [
      'src/a.ts:1: plain has 72 lines, at most 70',
      'src/a.ts:74: #method has 72 lines, at most 70',
      'src/a.ts:147: arrow has 72 lines, at most 70',
      'src/a.ts:219: many has 73 lines, at most 70',
      'src/a.ts:293: #many has 73 lines, at most 70',
    ],
  ],
  [
    'private members are written #x',
    {
      'src/a.ts':
        "class A {\n  private constructor(private readonly a: 1) {}\n  protected b = 'private c';\n  #private = 1;\n}",
      'bench/b.ts': 'class A {\n  private static async c() {}\n}\nconst o = { private: 1 };',
      'test/harness/cluster/party.ts': 'class A {\n  protected a = 1;\n}',
    },
    ['src/a.ts:2: private member', 'src/a.ts:3: protected member', 'bench/b.ts:2: private member'],
  ],
  [
    'no file is named utils',
    { 'src/flow/utils.ts': '', 'src/wire/time-helpers.ts': '' },
    ['src/flow/utils.ts:1', 'src/wire/time-helpers.ts:1'],
  ],
  ['no folder is too deep', { 'src/a/b/c/d.ts': '', 'src/a/b/c/d/e.ts': '' }, ['src/a/b/c/d/e.ts:1']],
  [
    'no folder holds too much',
    Object.fromEntries(Array.from({ length: 16 }, (_, at) => [`src/wire/a${at}.ts`, ''])),
    ['src/wire:1: 16 files, at most 15'],
  ],
  [
    'every file says what it is',
    { 'src/a.ts': "import 'x';", 'src/b.ts': '/** b */', 'src/c.ts': '#!/x\n/** c */' },
    ['src/a.ts:1'],
  ],
  [
    'no any, nothing left to do',
    {
      'src/a.ts': "const a = 'as any'; // any\nlet b: any;\nconst c = d as any;\n",
      'src/b.ts': '// TO' + 'DO: more\nconst s = 1;\n',
    },
    ['src/a.ts:2: any', 'src/a.ts:3: any', 'src/b.ts:1: unfinished'],
  ],
  [
    'generated code is imported by src/wire only',
    {
      'src/broker/a.ts': "import type { A } from '../wire/gen/a.js';",
      'src/wire/b.ts': "export type { A } from './gen/a.js';",
      'src/wire/gen/a.ts': '',
    },
    ['src/broker/a.ts:1'],
  ],
  [
    'leaders of streams are asked in one place',
    {
      'src/broker/log/a.ts': 'await manager.streams.info(name);\nawait storedMessage(manager, name, query);',
      'src/broker/nats/stream-leader.ts': 'await manager.streams.getMessage(name, query);',
    },
    ['src/broker/log/a.ts:1: leaders of streams are asked by'],
  ],
  [
    'no file of tracefs is truncated',
    {
      'src/sensor-agent/source/a.ts':
        "writeFileSync(join(tracefs, FILE), line);\nopenSync(path, 'a');\nopenSync(path, 'w');\nopenSync(path, O_WRONLY | O_TRUNC);",
      'src/sensor-agent/doctor/b.ts':
        "createWriteStream('x', { flags: 'a' });\nopenSync(path, 'r');\nopen(path, 'w+');",
      'src/storage/c.ts': "writeFileSync('x', 'w');",
    },
    [
      'src/sensor-agent/source/a.ts:1: truncates a file',
      'src/sensor-agent/source/a.ts:3: truncates a file',
      'src/sensor-agent/source/a.ts:4: truncates a file',
      'src/sensor-agent/doctor/b.ts:1: truncates a file',
      'src/sensor-agent/doctor/b.ts:3: truncates a file',
    ],
  ],
  [
    'dependencies point one way',
    {
      'src/broker/a.ts':
        "import { b } from '../sensor-agent/b.js';\nimport { c } from '../storage/c.js';\nimport '../errors.js';",
      'src/wire/a.ts': "export { x } from '../subscriptions/x.js';",
      'src/errors.ts': "const x = await import('./cli/main.js');",
      'src/new/a.ts': "import '../limits.js';",
    },
    [
      'src/broker/a.ts:1: broker must not import sensor-agent',
      'src/wire/a.ts:1: wire must not import subscriptions',
      'src/errors.ts:1: errors must not import cli',
      'src/new/a.ts:1: new is in no layer',
    ],
  ],
  [
    'no import cycles',
    {
      'src/a.ts': "import { b } from './b.js';",
      'src/b.ts': "import {\n  c,\n} from './c.js';",
      'src/c.ts': "import { a } from './a.js';",
      'src/d.ts': "import { e } from './e.js';",
      'src/e.ts': "import type { d } from './d.js';",
    },
    ['src/a.ts:1: import cycle src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts'],
  ],
  [
    'no heavy starts',
    {
      'src/cli/observe/observe.ts':
        "import { a } from '../a.js';\nimport type { Z } from 'zod';\nvoid import('../lazy.js');",
      'src/cli/a.ts': "import {\n  parse,\n} from 'yaml';\nimport { fs } from 'node:fs';",
      'src/cli/lazy.ts': "import * as z from 'zod';",
    },
    ['src/cli/a.ts:1: yaml is loaded at each start'],
  ],
  [
    'no dead exports',
    {
      'src/a.ts':
        'export const used = 1;\nexport function dead() {}\nexport interface Shape {}\nexport class C { s: Shape }\nexport type Dead = 1;',
      'src/b.ts': 'export const lazily = 1;',
      'test/a.test.ts': "import { used, type C } from '../src/a.js';\nawait import('../src/b.js');",
      'test/harness/b.ts': 'export function unused() {}',
    },
    ['src/a.ts:2: export dead', 'src/a.ts:5: export Dead', 'test/harness/b.ts:1: export unused'],
  ],
  [
    'no dead files',
    { 'src/a.ts': '', 'src/w.ts': '', 'test/a.test.ts': "const w = new URL('../src/w.js', import.meta.url);" },
    ['src/a.ts:1: is imported nowhere'],
  ],
];

for (const [name, files, expected] of BROKEN) {
  test(`a rule finds code that breaks it: ${name}`, () => {
    const root = scratchDirectory('tidy');
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
      writeFileSync(path.join(root, file), text);
    }
    const offences = RULES[name](readAll(root)).sort();
    assert.equal(offences.length, expected.length, offences.join('\n'));
    for (const [index, start] of [...expected].sort().entries())
      assert.ok(offences[index]?.startsWith(start), offences[index]);
  });
}
