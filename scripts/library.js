/**
 * Makes the client library of a build (docs/clients.md):
 *   grpc.js, http.js   each entry with all of our modules in one file, and its source map; what comes from packages is
 *                      imported, so that a program and the library share one grpc-js. http.js imports nothing.
 *   types/             the declarations that the entries lead to
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import * as esbuild from 'esbuild';

const ENTRIES = ['grpc', 'http'];
const SOURCES = 'src/client/library';

/** @param target is made */
export async function library(root, target) {
  const build = (name, options) =>
    esbuild.build({
      entryPoints: [path.join(root, SOURCES, `${name}.ts`)],
      outdir: target,
      bundle: true,
      format: 'esm',
      sourcemap: true,
      packages: 'external',
      logLevel: 'warning',
      ...options,
    });
  await Promise.all([
    build('grpc', { platform: 'node', target: 'node20' }),
    build('http', { platform: 'neutral', target: 'es2022' }),
    declarations(root, path.join(target, 'types')),
  ]);
}

async function declarations(root, target) {
  const entries = ENTRIES.map((name) => path.join(SOURCES, `${name}.ts`));
  const options = ['--declaration', '--emitDeclarationOnly', '--sourceMap', 'false', '--rootDir', 'src'];
  await run(root, 'tsc', ...COMPILER, ...options, '--outDir', target, ...entries);
  const used = new Set();
  const visit = (file) => {
    if (used.has(file)) return;
    used.add(file);
    const text = fs.readFileSync(file, 'utf8');
    for (const [, imported] of text.matchAll(/(?:from|import\()\s*['"](\.[^'"]+)\.js['"]/g))
      visit(path.resolve(path.dirname(file), `${imported}.d.ts`));
  };
  for (const name of ENTRIES) visit(path.resolve(target, 'client/library', `${name}.d.ts`));
  for (const name of fs.readdirSync(target, { recursive: true })) {
    const file = path.resolve(target, name);
    if (file.endsWith('.d.ts') && !used.has(file)) fs.rmSync(file);
  }
  removeEmpty(target);
}

/** As tsconfig.json has it, which names all files. */
const COMPILER = [
  ...['--ignoreConfig', '--target', 'es2023', '--lib', 'es2023', '--module', 'nodenext', '--types', 'node', '--strict'],
  ...['--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--verbatimModuleSyntax', '--skipLibCheck'],
];

function removeEmpty(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmpty(path.join(folder, entry.name));
  if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
}

function run(root, command, ...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(path.join(root, 'node_modules/.bin', command), args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${command} failed:\n${said}`))));
  });
}
