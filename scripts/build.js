/**
 * Makes the program, `npm run build`. Each state of the sources has a folder of its own, `.dist-ID`, where ID is a
 * digest of all that goes into it. The folder is made aside under another name and renamed when it is whole; then the
 * link `dist` is set to it, in one step. So:
 *   - `dist` is at any time the last program that was built whole, also while a build runs, or after one that failed;
 *   - a process runs from `.dist-ID` (Node follows the link at once), which stays as it is: a bus that was started
 *     before a build goes on, and starts its agent again, from the program it was started with;
 *   - builds that run at once do not meet: whoever is last to be ready sets the link.
 * A folder goes when it was replaced some time ago and no process uses it.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import protobuf from 'protobufjs';
import { bundle } from './bundle.js';
import { codecs } from './codecs.js';
import { keepCompiled } from './compiled.js';
import { jsonSchemas } from './json-schema.js';
import { library } from './library.js';
import { typedMessages } from './typed-messages.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = path.join(ROOT, 'dist');
/** What the compiler found out about the sources, by their contents. */
const CHECKED = path.join(ROOT, 'node_modules/.cache/backplane/types.tsbuildinfo');
const GENERATED = path.join(ROOT, 'src/wire/gen');
const INPUTS = ['src', 'test', 'bench', 'proto', 'scripts', 'tsconfig.json', 'package.json', 'package-lock.json'];
const PREFIX = '.dist-';
const MAKING = '.dist-making-';
/** Whoever is being started from a replaced folder has come to hold it by then. */
const REPLACED_MS = 10 * 60_000;
/** Times that the sources may change while they are being built. */
const ATTEMPTS_MAX = 3;

/** Resolves to the folder of the program; makes it where there is none for the sources as they are. */
export async function build() {
  let id = digest();
  for (let attempt = 1; !isWhole(id); attempt++) {
    process.stderr.write(attempt === 1 ? 'Building (10 to 30 s, only when something changed) …' : ' once more …');
    await make(id);
    const now = digest();
    if (now !== id && attempt === ATTEMPTS_MAX) throw new Error('the sources change while they are being built');
    id = now;
    if (isWhole(id)) process.stderr.write(' done\n');
  }
  point(id);
  linkCommand();
  sweep(id);
  return folder(id);
}

function folder(id) {
  return path.join(ROOT, PREFIX + id);
}

/** Says whose it is, so that what an interrupted build leaves is found. */
function makingName() {
  return path.join(ROOT, `${MAKING}${process.pid}-${randomBytes(4).toString('hex')}`);
}

/** False also where somebody removed what is in the folder. */
function isWhole(id) {
  return fs.existsSync(path.join(folder(id), 'program/main.js'));
}

/** A build that ran at once may have made the same from the same sources. */
function rename(making, target) {
  try {
    fs.renameSync(making, target);
  } catch (cause) {
    if (fs.existsSync(path.join(target, 'program/main.js'))) return;
    if (cause.code !== 'ENOTEMPTY' && cause.code !== 'EEXIST') throw cause;
    fs.rmSync(target, { recursive: true, force: true });
    fs.renameSync(making, target);
  }
}

/** Of everything that a program is made from, but for what is generated from the rest. */
function digest() {
  const hash = createHash('sha256');
  const add = (name) => {
    const file = path.join(ROOT, name);
    if (file === GENERATED) return;
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat?.isDirectory()) for (const entry of fs.readdirSync(file).sort()) add(path.join(name, entry));
    else if (stat) hash.update(`${name}\0${stat.size}\0`).update(fs.readFileSync(file));
  };
  INPUTS.forEach(add);
  return hash.digest('hex').slice(0, 12);
}

/** Makes a folder aside and gives it its name when it is whole. */
async function make(id) {
  const making = makingName();
  const types = path.join(making, 'types');
  try {
    fs.mkdirSync(path.join(making, 'descriptors'), { recursive: true });
    await allEnded([
      (async () => {
        await run('proto-loader-gen-types', ...GENERATOR, `--outDir=${types}`, ...PROTOS);
        const root = await protos();
        await typedMessages(root, path.join(ROOT, 'src'), path.join(types, 'typed'));
        codecs(root, path.join(types, 'codecs.ts'));
        replaceChanged(types, GENERATED);
        fs.rmSync(types, { recursive: true });
        await allEnded([check(making), modules(making), library(ROOT, path.join(making, 'client'))]);
        await bundle(path.join(making, 'src'), path.join(making, 'program'));
      })(),
      schemas(path.join(making, 'descriptors')),
      descriptors('proto', path.join(making, 'descriptors/backplane.binpb')),
      descriptors('node_modules/grpc-health-check/proto', path.join(making, 'descriptors/health.binpb')),
    ]);
    fs.chmodSync(path.join(making, 'program/main.js'), 0o755);
    await keepCompiled(path.join(making, 'program')).catch(() => {});
    rename(making, folder(id));
  } finally {
    fs.rmSync(making, { recursive: true, force: true });
  }
}

/** Also where one fails: what the others still write would be left. */
async function allEnded(steps) {
  for (const { status, reason } of await Promise.allSettled(steps)) if (status === 'rejected') throw reason;
}

const GENERATOR = [
  ...['--longs=String', '--enums=String', '--bytes=Buffer', '--oneofs', '--defaults'],
  ...['--includeDirs=proto', '--grpcLib=@grpc/grpc-js', '--importFileExtension=.js'],
];
const PROTOS = ['event', 'subscription', 'http', 'publisher', 'uplink', 'join'].map(
  (name) => `backplane/v1/${name}.proto`,
);

/** The types. What is known of them from the last build is kept, and taken along whole, since builds may run at once. */
async function check(making) {
  const mine = path.join(making, 'types.tsbuildinfo');
  if (fs.existsSync(CHECKED)) fs.copyFileSync(CHECKED, mine);
  await run('tsc', '-p', '.', '--noEmit', '--incremental', '--tsBuildInfoFile', mine);
  try {
    const kept = `${CHECKED}-${process.pid}`;
    fs.mkdirSync(path.dirname(CHECKED), { recursive: true });
    // Which may be on another disk.
    fs.copyFileSync(mine, kept);
    fs.renameSync(kept, CHECKED);
  } catch {
    // The next build takes longer.
  }
  fs.rmSync(mine);
}

/** Each module by itself, as it would come from tsc. */
function modules(making) {
  const sources = ['src', 'test', 'bench'].filter((name) => fs.existsSync(path.join(ROOT, name)));
  return esbuild.build({
    entryPoints: sources.map((name) => path.join(ROOT, name, '**/*.ts')),
    outbase: ROOT,
    outdir: making,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    logLevel: 'warning',
  });
}

/** The .proto files parsed: each start of a process would take 0.1 s to do it. And as JSON Schemas, with comments. */
async function schemas(to) {
  const root = await protos();
  fs.writeFileSync(path.join(to, 'backplane.json'), JSON.stringify(root));
  fs.writeFileSync(path.join(to, 'json-schema.json'), JSON.stringify(jsonSchemas(root)));
}

async function protos() {
  const root = new protobuf.Root();
  root.resolvePath = (_importer, name) => path.join(ROOT, 'proto', name);
  return root.load(PROTOS, { alternateCommentMode: true });
}

function descriptors(from, to) {
  return run('buf', 'build', from, '--as-file-descriptor-set', '--exclude-source-info', '-o', to);
}

/** A command of a development dependency. What it says is shown when it fails. */
function run(command, ...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(path.join(ROOT, 'node_modules/.bin', command), args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
    }
    child.on('error', (cause) => reject(new Error(`${command} cannot be started: ${cause.message}; npm ci`)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} failed (${signal ?? code}):\n${said}`));
    });
  });
}

/** Each file that differs, in one step: another compiler that reads them meanwhile never sees half of one. */
function replaceChanged(from, to) {
  fs.mkdirSync(to, { recursive: true });
  const entries = fs.readdirSync(from, { withFileTypes: true });
  for (const entry of entries) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) replaceChanged(source, target);
    else if (!fs.existsSync(target) || !fs.readFileSync(source).equals(fs.readFileSync(target)))
      fs.renameSync(source, target);
  }
  const names = new Set(entries.map(({ name }) => name));
  for (const name of fs.readdirSync(to)) {
    if (!names.has(name)) fs.rmSync(path.join(to, name), { recursive: true, force: true });
  }
}

function point(id) {
  const wanted = path.basename(folder(id));
  const found = fs.lstatSync(DIST, { throwIfNoEntry: false });
  if (found?.isSymbolicLink()) {
    const before = fs.readlinkSync(DIST);
    if (before === wanted) return;
    const now = new Date();
    if (fs.existsSync(path.join(ROOT, before))) fs.utimesSync(path.join(ROOT, before), now, now);
  } else if (found) {
    // A folder: npm makes a package, or it is of a time when builds had no folders of their own. Who runs from it finds
    // the new program behind the link.
    const aside = makingName();
    fs.renameSync(DIST, aside);
    setLink(wanted, DIST);
    fs.rmSync(aside, { recursive: true, force: true });
    return;
  }
  setLink(wanted, DIST);
}

/** `npx backplane` looks into node_modules/.bin, where npm links the commands of dependencies but not the project's own. */
function linkCommand() {
  const command = path.join(ROOT, 'node_modules/.bin/backplane');
  fs.mkdirSync(path.dirname(command), { recursive: true });
  setLink('../../dist/program/main.js', command);
}

/** Made aside and renamed: at no time is there no link. */
function setLink(target, link) {
  const aside = `${link}.${process.pid}`;
  fs.rmSync(aside, { force: true });
  fs.symlinkSync(target, aside);
  fs.renameSync(aside, link);
}

/** Removes folders that nobody needs any more, and what interrupted builds left. */
function sweep(current) {
  const old = fs
    .readdirSync(ROOT)
    .filter((name) => name.startsWith(PREFIX) && path.join(ROOT, name) !== folder(current));
  for (const name of old) {
    const dir = path.join(ROOT, name);
    const maker = name.startsWith(MAKING) ? name.slice(MAKING.length).split('-')[0] : undefined;
    try {
      const unused = maker === undefined ? replacedLongAgo(dir) && !isUsed(dir) : !fs.existsSync(`/proc/${maker}`);
      if (unused) fs.rmSync(dir, { recursive: true, force: true });
    } catch {
      // Somebody else's, or removed by another build just now.
    }
  }
}

function replacedLongAgo(dir) {
  return Date.now() - fs.statSync(dir).mtimeMs > REPLACED_MS;
}

/** A process uses a folder whose command line names it, or which it holds open, as `src/cli/main.ts` does. */
function isUsed(dir) {
  return fs.readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (command.includes(path.basename(dir))) return true;
      if (!/main\.js|backplane/.test(command)) return false;
      return fs.readdirSync(`/proc/${pid}/fd`).some((fd) => isLink(`/proc/${pid}/fd/${fd}`, dir));
    } catch (cause) {
      // Another user's, which may be using it, as against one that has ended.
      return cause.code === 'EACCES';
    }
  });
}

function isLink(link, target) {
  try {
    return fs.readlinkSync(link) === target;
  } catch {
    return false;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await build();
  } catch (cause) {
    process.stderr.write(`\n${cause.message}\n`);
    process.exit(1);
  }
}
