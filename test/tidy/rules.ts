/** The rules that the tidy test holds all code to, each a function that returns one line per offence: `file:line: what`. */
import { lineAt, type SourceFile } from './source-file.js';

/** Lines of code: comments and imports do not count, so that nobody cuts a comment to stay below it. */
export const FILE_LINES_MAX = 350;
/** From the first line of the signature to the closing brace. */
export const FUNCTION_LINES_MAX = 70;
/** Folders below src. */
const DEPTH_MAX = 3;
const FOLDER_FILES_MAX = 15;

/** Files and functions (`file: name`) over their bound that have one responsibility all the same, and why. */
const LONG: Readonly<Record<string, string>> = {
  'src/sensor-agent/source/pages/page.ts: walk':
    'the hot loop over every kernel entry: its state stays in local variables, which calls would spill',
};

type Files = ReadonlyMap<string, SourceFile>;

const at = (file: SourceFile, line: number, text: string) => `${file.path}:${line}: ${text}`;

export function longFiles(files: Files): string[] {
  return written(files)
    .filter(({ path, codeLines }) => codeLines > FILE_LINES_MAX && LONG[path] === undefined)
    .map((file) => at(file, 1, `${file.codeLines} lines of code, at most ${FILE_LINES_MAX}`));
}

export function longFunctions(files: Files): string[] {
  return written(files).flatMap((file) =>
    file.functions
      .filter(({ name, lines }) => lines > FUNCTION_LINES_MAX && LONG[`${file.path}: ${name}`] === undefined)
      .map(({ name, line, lines }) => at(file, line, `${name} has ${lines} lines, at most ${FUNCTION_LINES_MAX}`)),
  );
}

/** Files whose classes have `protected` members that their subclasses override or call, and why. */
const SUBCLASSED: Readonly<Record<string, string>> = {
  'test/harness/cluster/party.ts': 'broker, agent and subscriber are processes that differ in how they are started',
  'test/harness/cluster/subscriber.ts': 'a subclass of Party',
  'test/harness/cluster/system.ts': 'one broker or a cluster of them: networks and addresses differ',
  'test/harness/cluster/driver.ts': 'a subclass of System',
  'test/harness/nats/nats-cluster.ts': 'subclasses of System and of Party',
};

/** Private members are written `#x`, which holds at run time too; only a constructor cannot be. */
export function privateModifiers(files: Files): string[] {
  const modifier = /(?<![.\w#])(private|protected)\s+(?!constructor\b)[\w#*[]/g;
  return written(files).flatMap((file) =>
    [...file.code.matchAll(modifier)]
      .filter(({ 1: word }) => word === 'private' || SUBCLASSED[file.path] === undefined)
      .map(({ 1: word, index }) => at(file, lineAt(file.code, index), `${word} member, to be written #x`)),
  );
}

export function namedForNothing(files: Files): string[] {
  return ours(files)
    .filter((file) => /(^|[/-])(utils?|helpers?|misc|common)([-.]|\/)/.test(file.path))
    .map((file) => at(file, 1, 'a file is named for what it holds, not utils or helpers'));
}

export function deepFolders(files: Files): string[] {
  return ours(files)
    .filter((file) => file.path.split('/').length - 2 > DEPTH_MAX)
    .map((file) => at(file, 1, `folders below src go at most ${DEPTH_MAX} deep`));
}

/** Folders that hold more, and why. */
const CROWDED: Readonly<Record<string, string>> = {
  'bench/scenarios': 'a file for each figure that is published, started by its name',
  'src/subscriptions/filter': 'one language, whose checks and compiler know each other and nobody else does',
};

export function crowdedFolders(files: Files): string[] {
  const counts = new Map<string, number>();
  for (const { path } of written(files)) {
    const folder = path.slice(0, path.lastIndexOf('/'));
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts]
    .filter(([folder, count]) => count > FOLDER_FILES_MAX && CROWDED[folder] === undefined)
    .map(([folder, count]) => `${folder}:1: ${count} files, at most ${FOLDER_FILES_MAX}`);
}

export function headerless(files: Files): string[] {
  return written(files)
    .filter((file) => !/^(#!.*\n)?\/\*\*/.test(file.text))
    .map((file) => at(file, 1, 'begins with a comment that says what the file is'));
}

export function forbiddenWords(files: Files): string[] {
  const offences: string[] = [];
  for (const file of written(files)) {
    file.code.split('\n').forEach((text, index) => {
      if (/[:<,|(]\s*any\b|\bas any\b|\bany\[\]/.test(text)) offences.push(at(file, index + 1, 'any'));
    });
    // In comments: the code is blanked there.
    file.text.split('\n').forEach((text, index) => {
      if (/(\/\/|\/?\*).*\b(TO[D]O|FIX[M]E|X{3}|HA[C]K)\b/.test(text))
        offences.push(at(file, index + 1, 'unfinished work in a comment'));
    });
  }
  return offences;
}

/** Generated code has one owner. */
export function generatedOutsideWire(files: Files): string[] {
  return edges(files)
    .filter(({ from, target }) => isGenerated(target) && !from.path.startsWith('src/wire/'))
    .map(({ from, line, target }) => at(from, line, `imports ${target}: only src/wire imports generated code`));
}

/** What truncates a file when it is opened, and files of the sensor that may, and why. */
const TRUNCATES = /\bO_TRUNC\b|\b(writeFile|createWriteStream|truncate)(Sync)?\(|\bopen(Sync)?\([^;]*['"]w\+?['"]/g;
const TRUNCATING: Readonly<Record<string, string>> = {
  'src/sensor-agent/source/tracefs/instance-controls.ts': 'control files of our own instance, which are emptied so',
  'src/sensor-agent/source/paths/path-trials.ts': 'files of its own',
};

/** Definitions of probes are everybody's: truncating their file, as any write by path does, removes all of them. */
export function truncatedDefinitions(files: Files): string[] {
  return ours(files)
    .filter(({ path }) => /^src\/sensor-agent\/(source|doctor)\//.test(path) && TRUNCATING[path] === undefined)
    .flatMap((file) =>
      [...file.text.matchAll(TRUNCATES)].map(({ index }) =>
        at(file, lineAt(file.text, index), 'truncates a file: tracefs is written with put() or define()'),
      ),
    );
}

/** Errors of NATS's client would be `internal` to callers, who give up: one file makes them `unavailable`. */
const ASKS_LEADERS = 'src/broker/nats/stream-leader.ts';

export function rawQuestions(files: Files): string[] {
  return ours(files)
    .filter(({ path }) => path.startsWith('src/') && path !== ASKS_LEADERS)
    .flatMap((file) =>
      [...file.text.matchAll(/\.streams\.(getMessage|info)\(/g)].map(({ index }) =>
        at(file, lineAt(file.text, index), `leaders of streams are asked by ${ASKS_LEADERS}`),
      ),
    );
}

/** Layers, lowest first. A file imports from its own layer's folder or from a lower layer. */
const LAYERS: readonly (readonly string[])[] = [
  ['limits', 'errors', 'nanoseconds', 'architecture'],
  ['text', 'package-files'],
  ['metrics'],
  ['flow', 'wire'],
  ['storage'],
  ['access'],
  ['subscriptions'],
  ['client'],
  ['broker', 'sensor-agent'],
  ['config', 'cli'],
];
/** Within the lowest layers these lean on each other without a cycle. */
const SAME_LAYER_ALLOWED: readonly string[] = ['errors>limits', 'flow>wire', 'wire>flow', 'cli>config'];

export function wrongDirection(files: Files): string[] {
  return edges(files).flatMap(({ from, line, target }) => {
    if (!from.path.startsWith('src/') || !target.startsWith('src/')) return [];
    const [lower, upper] = [part(target), part(from.path)];
    if (lower === upper || SAME_LAYER_ALLOWED.includes(`${upper}>${lower}`)) return [];
    const [lowerLayer, upperLayer] = [layer(lower), layer(upper)];
    if (lowerLayer === -1 || upperLayer === -1)
      return [at(from, line, `${lowerLayer === -1 ? lower : upper} is in no layer`)];
    return lowerLayer < upperLayer ? [] : [at(from, line, `${upper} must not import ${lower}`)];
  });
}

function part(path: string): string {
  return path.split('/')[1]?.replace(/\.ts$/, '') ?? '';
}

function layer(name: string): number {
  return LAYERS.findIndex((names) => names.includes(name));
}

/** One line per cycle that exists at run time, from the file where it was entered. */
export function importCycles(files: Files): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string) => {
    const start = trail.indexOf(path);
    if (start !== -1) found.push(`${path}:1: import cycle ${[...trail.slice(start), path].join(' -> ')}`);
    if (start !== -1 || done.has(path)) return;
    trail.push(path);
    for (const { target, loads } of files.get(path)?.imports ?? []) {
      if (target !== undefined && loads && files.has(target)) visit(target);
    }
    trail.pop();
    done.add(path);
  };
  for (const path of files.keys()) visit(path);
  return found;
}

/** What starts often, and is waited for. */
const OFTEN_STARTED = 'src/cli/observe/observe.ts';
/** Libraries that take long to load, and what of them is needed there is needed seldom. */
const HEAVY_LIBRARY = /^(?:import|export) (?!type\b)[^;']*'(zod|yaml|re2js|pino|jose)'/gm;

/** One line per file that brings a heavy library along at the start. */
export function heavyStarts(files: Files): string[] {
  const found: string[] = [];
  const seen = new Set<string>();
  const visit = (path: string) => {
    const file = files.get(path);
    if (file === undefined || seen.has(path)) return;
    seen.add(path);
    for (const { 1: library, index } of file.text.matchAll(HEAVY_LIBRARY))
      found.push(at(file, lineAt(file.text, index), `${library} is loaded at each start of ${OFTEN_STARTED}`));
    for (const { target, loads, isLazy } of file.imports) if (target !== undefined && loads && !isLazy) visit(target);
  };
  visit(OFTEN_STARTED);
  return found;
}

/** The shapes (types, classes) that a file's own public signatures name need no importer; values do. */
export function deadExports(files: Files, entryPoints: readonly string[]): string[] {
  const used = new Map<string, Set<string> | 'all'>();
  for (const { target, names } of edges(files)) {
    const before = used.get(target);
    if (before === 'all' || names === undefined) used.set(target, 'all');
    else used.set(target, new Set([...(before ?? []), ...names]));
  }
  return written(files).flatMap((file) => {
    const names = used.get(file.path);
    if (names === 'all' || entryPoints.includes(file.path)) return [];
    return file.exports
      .filter(({ name, isShape }) => !(names?.has(name) ?? false) && !(isShape && occurrences(file.code, name) > 1))
      .map(({ name, line }) => at(file, line, `export ${name} is imported nowhere`));
  });
}

/** Dead files: imported by nobody. */
export function deadFiles(files: Files, entryPoints: readonly string[]): string[] {
  const targets = new Set(edges(files).map(({ target }) => target));
  return ours(files)
    .filter((file) => !targets.has(file.path) && !entryPoints.includes(file.path))
    .map((file) => at(file, 1, 'is imported nowhere'));
}

function occurrences(code: string, name: string): number {
  return code.match(new RegExp(`\\b${name}\\b`, 'g'))?.length ?? 0;
}

function isGenerated(path: string): boolean {
  return path.startsWith('src/wire/gen/');
}

/** All that is written by hand: src, test and bench. */
function written(files: Files): SourceFile[] {
  return [...files.values()].filter(({ path }) => !isGenerated(path));
}

function ours(files: Files): SourceFile[] {
  return written(files).filter(({ path }) => path.startsWith('src/'));
}

/** What generated code imports of itself does not count. */
function edges(files: Files) {
  return [...files.values()].flatMap((from) =>
    from.imports.flatMap(({ target, ...rest }) =>
      target === undefined || (isGenerated(from.path) && isGenerated(target)) ? [] : [{ from, target, ...rest }],
    ),
  );
}
