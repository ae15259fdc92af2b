/**
 * Every key of deploy/kubernetes is one that Kubernetes and the Prometheus operator know: the compiler holds each object to
 * the types that kubernetes-models makes of their own schemas. For a literal they are closed, where schemas are open.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { type Manifest, manifestsIn } from '../pods.js';
import { PACKAGE_CACHE } from '../trixie.js';
import { filesOf } from './deployed-files.js';
import { misspeltOnce } from './misspelt.js';

const PACKAGES = ['kubernetes-models@5.1.0', '@kubernetes-models/prometheus-operator@6.0.0'];
/** Mappings whose keys are the user's own. */
const FREE = /\.(labels|matchLabels|annotations|data|requests|limits)$|^Service\.spec\.selector$/;

/** Not among the project's own dependencies: 25 MB for one test. In one sentence why they cannot be had, or false. */
function missingTypes(folder: string): string | false {
  if (existsSync(join(folder, 'node_modules/@kubernetes-models/prometheus-operator'))) return false;
  mkdirSync(folder, { recursive: true });
  const flags = ['--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund'];
  const { status, stderr } = spawnSync('npm', ['install', ...flags, ...PACKAGES], { encoding: 'utf8' });
  return status === 0 ? false : `needs ${PACKAGES.join(', ')}, which cannot be had: ${stderr.trim().split('\n')[0]}`;
}

const types = join(PACKAGE_CACHE, 'kubernetes-models');
const skip = missingTypes(types);

/** `export const m = OBJECT` of the type that its kind has, as one line. */
function typed({ apiVersion, kind }: Manifest, object: object, at: number): string {
  const models = apiVersion.startsWith('monitoring.') ? '@kubernetes-models/prometheus-operator' : 'kubernetes-models';
  return `export const m${at}: import('${models}/${apiVersion}/${kind}').I${kind} = ${JSON.stringify(object)};`;
}

test('Kubernetes knows every key, and refuses each that is misspelt', { skip }, () => {
  const manifests = filesOf('manifest').flatMap((name) => manifestsIn(readFileSync(name, 'utf8')));
  assert.ok(manifests.length > 5);
  const lines: string[] = [];
  const wrong: string[] = [];
  for (const manifest of manifests) {
    wrong[lines.length] = '';
    lines.push(typed(manifest, manifest, lines.length));
    for (const { where, document } of misspeltOnce(manifest, (path) => FREE.test(`${manifest.kind}.${path}`))) {
      wrong[lines.length] = `${manifest.kind} ${manifest.metadata.name}: ${where}`;
      lines.push(typed(manifest, document, lines.length));
    }
  }
  const refused = refusedLines(lines);
  for (const [at, misspelt] of wrong.entries()) {
    assert.equal(refused.has(at), misspelt !== '', misspelt === '' ? refused.get(at) : `${misspelt} is not refused`);
  }
});

/** The compiler's word on each line that it refuses, by its place. */
function refusedLines(lines: readonly string[]): ReadonlyMap<number, string> {
  const dir = scratchDirectory('types');
  symlinkSync(join(types, 'node_modules'), join(dir, 'node_modules'));
  writeFileSync(join(dir, 'manifests.ts'), lines.join('\n'));
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--pretty', 'false', '--types', ''];
  const modules = ['--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler'];
  const command = [join(process.cwd(), 'node_modules/.bin/tsc'), ...options, ...modules, 'manifests.ts'];
  const { stdout } = spawnSync(process.execPath, command, { cwd: dir, encoding: 'utf8', maxBuffer: 1 << 26 });
  const said = [...stdout.matchAll(/^manifests\.ts\((\d+),\d+\): (.*)$/gm)];
  assert.ok(said.length > 0, stdout);
  return new Map(said.map(([, line, text]) => [Number(line) - 1, text!]));
}
