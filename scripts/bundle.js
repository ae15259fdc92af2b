/**
 * The program that users start: the modules of a build with all that they import from node_modules, in a few files,
 * and for each what V8 made of it when it ran. Node loads these in a third of the time of seven hundred modules.
 *   main.js        finds the verb, and loads the part that has it
 *   NAME.cjs       the command line with the verbs that are used in one process (PARTS); `none` has none, for help
 *   certificate-library.js, nats-library.js   what few of them use
 *   NAME.cjs.V8    its functions compiled, for the version of V8 that is named (compiled.js)
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

/** Verbs and their files, by what they have in common, so that each process loads little that it does not need. */
const PARTS = {
  up: { up: 'process/up', broker: 'process/broker' },
  agent: { agent: 'process/agent' },
  client: {
    observe: 'observe/observe',
    publish: 'publish',
    nodes: 'lists/nodes',
    topics: 'lists/topics',
    subscriptions: 'lists/subscriptions',
    groups: 'lists/groups',
    status: 'lists/status',
    retire: 'lists/retire',
    top: 'top/top',
    tokens: 'tokens/tokens',
  },
  local: { doctor: 'doctor', config: 'config', decode: 'decode-capture' },
  certs: { certs: 'certs/certs' },
  cluster: { cluster: 'cluster/cluster' },
  none: {},
};
/** Has all the others, too, whose flags it completes. */
const EVERY_VERB = 'completion';

/** Large libraries that few processes use, and those late: the parts require them when they need them. */
const APART = ['access/certificate-library', 'broker/nats/nats-library'];

const COMMON = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  define: {
    // What the code of modules expects to be there, and CommonJS has not.
    'import.meta.url': '__url',
    // A library (long) would compile a module at each start, for divisions that it can do without.
    WebAssembly: 'undefined',
  },
  // Native code; msgpackr does without where it is not installed.
  external: ['msgpackr-extract'],
  legalComments: 'none',
  // Less to read at each start; names stay, for stack traces.
  minifyWhitespace: true,
  metafile: true,
  logLevel: 'warning',
};
const ITS_URL = 'const __url = require("node:url").pathToFileURL(__filename).href;';

/**
 * @param modules the folder of the compiled src/
 * @param target is made; a file that starts a thread finds the thread's file beside it, as it does among the modules
 */
export async function bundle(modules, target) {
  const module = (name) => path.join(modules, name);
  const parts = [...Object.keys(PARTS), EVERY_VERB];
  const bundles = await Promise.all([
    esbuild.build({
      ...COMMON,
      entryPoints: [
        { in: module('cli/main.js'), out: 'main' },
        { in: module('sensor-agent/source/exec/exec-lane-worker.js'), out: 'exec-lane-worker' },
        { in: module('sensor-agent/source/command-lines/command-line-worker.js'), out: 'command-line-worker' },
        ...APART.map((file) => ({ in: module(`${file}.js`), out: path.basename(file) })),
      ],
      outdir: target,
      banner: { js: ITS_URL },
      plugins: [partByVerb(modules)],
    }),
    ...parts.map((name) =>
      esbuild.build({
        ...COMMON,
        entryPoints: [module('cli/command-line.js')],
        outfile: path.join(target, `${name}.cjs`),
        banner: { js: `(function (exports, require, module, __filename, __dirname) { ${ITS_URL}` },
        footer: { js: '})' },
        plugins: [
          withProtos(target),
          quickAddresses,
          lateChildren,
          apart,
          ...(name === EVERY_VERB ? [] : [onlyVerbs(modules, PARTS[name])]),
        ],
        supported: { 'dynamic-import': false },
      }),
    ),
  ]);
  // Node takes files for modules where the package's own file above says so.
  fs.writeFileSync(path.join(target, 'package.json'), '{ "type": "commonjs" }\n');
  const inputs = bundles.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  fs.writeFileSync(path.join(target, 'THIRD-PARTY-LICENSES.txt'), licenses(inputs));
}

/**
 * Node 20 finds out whether a text is an IPv6 address by a pattern that takes 3.5 ms to compile, and gRPC asks of each
 * address: here only of those that have a colon.
 */
const quickAddresses = {
  name: 'quick-addresses',
  setup(build) {
    build.onResolve({ filter: /^net$/ }, ({ importer }) =>
      /\/node_modules\/@grpc\/grpc-js\//.test(importer) ? { path: 'net', namespace: 'quick-addresses' } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: 'quick-addresses' }, () => ({
      contents: `const net = require('node:net');
        const isIPv6 = (text) => String(text).includes(':') && net.isIPv6(text);
        module.exports = Object.create(net, { isIPv6: { value: isIPv6 } });`,
    }));
  },
};

/** The library of commands loads what starts programs, for commands that are programs of their own: none here. */
const lateChildren = {
  name: 'late-children',
  setup(build) {
    build.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      /\/node_modules\/commander\//.test(importer) ? { path: 'children', namespace: 'late-children' } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: 'late-children' }, () => ({
      contents: `module.exports = { spawn: (...given) => require('node:child_process').spawn(...given) };`,
    }));
  },
};

const apart = {
  name: 'apart',
  setup(build) {
    for (const name of APART.map((file) => path.basename(file))) {
      build.onResolve({ filter: new RegExp(`/${name}\\.js$`) }, ({ kind }) =>
        kind === 'entry-point' ? undefined : { path: `./${name}.js`, external: true },
      );
    }
    build.onResolve({ filter: /^(nats|@nats-io\/.*)$/ }, ({ importer }) => {
      throw new Error(`${importer} imports the client of NATS, not nats-library.js`);
    });
  },
};

/** What main.js imports as the command line comes from the part that has the verb. */
function partByVerb(modules) {
  const parts = Object.entries(PARTS).flatMap(([part, verbs]) => Object.keys(verbs).map((verb) => [verb, part]));
  const contents = `import { load } from './load-part.js';
    import { wantedVerb } from ${JSON.stringify(path.join(modules, 'cli/wanted-verb.js'))};
    const PARTS = new Map(${JSON.stringify([...parts, [EVERY_VERB, EVERY_VERB]])});
    export const { runCommand } = load(PARTS.get(wantedVerb(process.argv.slice(2))) ?? 'none');`;
  return {
    name: 'part-by-verb',
    setup(build) {
      build.onResolve({ filter: /\/command-line\.js$/ }, ({ kind }) =>
        kind === 'dynamic-import' ? { path: 'command-line', namespace: 'part' } : undefined,
      );
      build.onLoad({ filter: /.*/, namespace: 'part' }, () => ({
        contents,
        resolveDir: path.dirname(fileURLToPath(import.meta.url)),
      }));
    },
  };
}

/** Leaves out of a part what the command line imports for verbs of others, which it is not asked for there. */
function onlyVerbs(modules, verbs) {
  const folder = path.join(modules, 'cli');
  const known = new Set([...Object.values(PARTS).flatMap(Object.values), `${EVERY_VERB}/${EVERY_VERB}`]);
  const wanted = new Set(Object.values(verbs));
  return {
    name: 'only-verbs',
    setup(build) {
      build.onResolve({ filter: /^\./ }, ({ kind, importer, path: imported }) => {
        const isOfVerb = kind === 'dynamic-import' && path.dirname(importer) === folder && imported.startsWith('./');
        if (!isOfVerb) return undefined;
        const file = imported.replace(/^\.\/|\.js$/g, '');
        if (!known.has(file)) throw new Error(`cli/${file}.ts is in no part of the program (scripts/bundle.js)`);
        return wanted.has(file) ? undefined : { path: imported, external: true };
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
