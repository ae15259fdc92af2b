/**
 * The program that users start: the modules of a build with all that they import from node_modules, in some tens of
 * files that Node loads in half the time of seven hundred.
 */
import fs from 'node:fs';
import path from 'node:path';
import * as esbuild from 'esbuild';

/** What CommonJS packages expect to be there. */
const COMMON_JS = `import { createRequire as __createRequire } from 'node:module';
const require = __createRequire(import.meta.url);
const __filename = import.meta.filename ?? new URL(import.meta.url).pathname;
const __dirname = __filename.slice(0, __filename.lastIndexOf('/'));`;

/**
 * @param modules the folder of the compiled src/
 * @param target is made; a file that starts a thread finds the thread's file beside it, as it does among the modules
 */
export async function bundle(modules, target) {
  const { metafile } = await esbuild.build({
    entryPoints: [
      { in: path.join(modules, 'cli/main.js'), out: 'main' },
      { in: path.join(modules, 'sensor-agent/source/exec/exec-lane-worker.js'), out: 'exec-lane-worker' },
    ],
    outdir: target,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // Native code; msgpackr does without where it is not installed.
    external: ['msgpackr-extract'],
    banner: { js: COMMON_JS },
    legalComments: 'none',
    // Less to read at each start; names stay, for stack traces.
    minifyWhitespace: true,
    plugins: [withProtos(target)],
    metafile: true,
    logLevel: 'warning',
  });
  fs.writeFileSync(path.join(target, 'THIRD-PARTY-LICENSES.txt'), licenses(Object.keys(metafile.inputs)));
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
