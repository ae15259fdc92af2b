/**
 * The program that users start: the modules of a build with all that they import from node_modules, in a few files,
 * and for each what V8 made of it when it ran. Node loads these in a third of the time of seven hundred modules.
 *   main.js        finds the verb
 *   NAME.cjs       the verbs that are used in one process (PARTS), loaded by main.js
 *   certificate-library.cjs   what few of them use
 *   NAME.cjs.V8    its functions compiled, for the version of V8 that is named (compiled.js)
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

/** By what they have in common, so that each process loads little that it does not need. */
const PARTS = {
  up: ['process/up', 'process/broker'],
  agent: ['process/agent'],
  client: [
    'observe/observe',
    'publish',
    'lists/nodes',
    'lists/topics',
    'lists/subscriptions',
    'lists/groups',
    'lists/status',
    'top/top',
    'tokens/tokens',
  ],
  local: ['doctor', 'config', 'decode-capture'],
  certs: ['certs/certs'],
  // Has all the others, too, whose flags it completes.
  completion: ['completion/completion'],
};

/** A large library that few processes use, and those late: the parts require it when they need it. */
const APART = 'certificate-library';

/** What the code of modules expects to be there, and CommonJS has not. */
const AS_MODULE = {
  define: { 'import.meta.url': '__url' },
  banner: {
    js: '(function (exports, require, module, __filename, __dirname) { const __url = require("node:url").pathToFileURL(__filename).href;',
  },
  footer: { js: '})' },
};

const COMMON = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  // Native code; msgpackr does without where it is not installed.
  external: ['msgpackr-extract'],
  legalComments: 'none',
  // Less to read at each start; names stay, for stack traces.
  minifyWhitespace: true,
  metafile: true,
  logLevel: 'warning',
};

/**
 * @param modules the folder of the compiled src/
 * @param target is made; a file that starts a thread finds the thread's file beside it, as it does among the modules
 */
export async function bundle(modules, target) {
  const module = (name) => path.join(modules, name);
  const bundles = await Promise.all([
    esbuild.build({
      ...COMMON,
      entryPoints: [
        { in: module('cli/main.js'), out: 'main' },
        { in: module('sensor-agent/source/exec/exec-lane-worker.js'), out: 'exec-lane-worker' },
      ],
      outdir: target,
      format: 'esm',
      banner: { js: 'import { createRequire as __from } from "node:module"; const require = __from(import.meta.url);' },
      plugins: [partsOf(modules)],
    }),
    esbuild.build({
      ...COMMON,
      entryPoints: [module(`access/${APART}.js`)],
      outfile: path.join(target, `${APART}.cjs`),
      format: 'cjs',
    }),
    ...Object.entries(PARTS).map(([name, verbs]) =>
      esbuild.build({
        ...COMMON,
        ...AS_MODULE,
        stdin: {
          contents: verbs.map((verb) => `export * as ${identifier(verb)} from './cli/${verb}.js';`).join('\n'),
          resolveDir: modules,
        },
        outfile: path.join(target, `${name}.cjs`),
        format: 'cjs',
        plugins: [withProtos(target), apart],
        supported: { 'dynamic-import': false },
      }),
    ),
  ]);
  const inputs = bundles.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  fs.writeFileSync(path.join(target, 'THIRD-PARTY-LICENSES.txt'), licenses(inputs));
}

const apart = {
  name: 'apart',
  setup(build) {
    build.onResolve({ filter: new RegExp(`/${APART}\\.js$`) }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: `./${APART}.cjs`, external: true } : undefined,
    );
  },
};

function identifier(verb) {
  return verb.replace(/\W/g, '_');
}

/** What main.js imports when a verb is used is taken from the part that has it. */
function partsOf(modules) {
  const folder = path.join(modules, 'cli');
  return {
    name: 'parts',
    setup(build) {
      build.onResolve({ filter: /^\./ }, ({ kind, importer, path: imported }) => {
        if (kind !== 'dynamic-import' || path.dirname(importer) !== folder) return undefined;
        return { path: imported.replace(/^\.\/|\.js$/g, ''), namespace: 'part' };
      });
      build.onLoad({ filter: /.*/, namespace: 'part' }, ({ path: verb }) => {
        const [name] = Object.entries(PARTS).find(([, verbs]) => verbs.includes(verb)) ?? [];
        if (name === undefined) throw new Error(`cli/${verb}.ts is in no part of the program (scripts/bundle.js)`);
        return {
          contents: `import { load } from './load-part.js';
            export const { define } = load(${JSON.stringify(name)}).${identifier(verb)};`,
          resolveDir: path.dirname(fileURLToPath(import.meta.url)),
        };
      });
    },
  };
}

/** gRPC's packages read .proto files of their own, by paths from where their code was: both come along. */
function withProtos(target) {
  return {
    name: 'protos',
    setup(build) {
      build.onLoad({ filter: /\/node_modules\/(@grpc\/|grpc-)[^/]+\/build\/.*\.js$/ }, ({ path: file }) => {
        const code = fs.readFileSync(file, 'utf8');
        if (!code.includes('__dirname')) return undefined;
        const [folder] = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file);
        const was = path.dirname(file);
        const is = path.join('packages', path.basename(folder), path.relative(folder, was));
        const [protos] = /(?:\.\.\/)+proto\b/.exec(code);
        fs.cpSync(path.join(was, protos), path.join(target, is, protos), { recursive: true });
        return { contents: code.replaceAll('__dirname', `(__dirname + ${JSON.stringify(`/${is}`)})`) };
      });
    },
  };
}

/** Of each package whose code is in the bundle: its name, its version and its licence's text. */
function licenses(inputs) {
  const folders = new Set(
    inputs.flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(input)?.[0] ?? []),
  );
  return [...folders].sort().map(license).join('\n');
}

function license(folder) {
  const { name, version, license } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const texts = fs
    .readdirSync(folder)
    .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
    .map((file) => fs.readFileSync(path.join(folder, file), 'utf8').trim());
  return `${'='.repeat(80)}\n${name} ${version} (${license})\n\n${texts.join('\n\n')}\n`;
}
