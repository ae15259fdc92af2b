/**
 * Each file that is deployed is held to somebody who knows its keys: the program that reads it, or, where that passes over
 * keys that it does not know or cannot be had, a closed form of ours. With any key misspelt the file is refused.
 * The manifests of Kubernetes are in kubernetes-types.test.ts.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import type * as z from 'zod';
import { parseRoles } from '../../../src/broker/access/roles.js';
import { TestAuthority } from '../../harness/access/certificates.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { natsProgram, needsNats } from '../../harness/nats/nats-package.js';
import { needs } from '../../harness/tools.js';
import { programOfTrixie } from '../trixie.js';
import { DEPLOYED, type DeployedKind, filesOf, kindOf } from './deployed-files.js';
import { dashboardForm, datasourcesForm, providersForm } from './grafana-forms.js';
import { type IsFree, MISSPELT, type MisspeltTexts, misspeltNats, misspeltYaml } from './misspelt.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;

interface Check {
  /** Why it cannot be made here, or false. */
  readonly skip?: string | false;
  /** The file's text with each key misspelt in turn. */
  readonly misspelt: (text: string) => MisspeltTexts;
  /** What is wrong with the file if it has this text; '' where nothing is. */
  readonly refusal: (text: string, file: string) => string;
  /** A process for each key: `npm test` tries one of each kind of key in each file. */
  readonly isSlow?: boolean;
}

const yaml =
  (isFree?: IsFree) =>
  (text: string): MisspeltTexts =>
    misspeltYaml(text, isFree);
const under = (pattern: RegExp) => (path: string) => pattern.test(path);

function saidBy(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', ...(env && { env }) });
  return status === 0 ? '' : `${stdout}${stderr}`;
}

/** The text in a file of its own, with the certificates that it names. */
function placed(text: string, name: string): string {
  const file = join(scratchDirectory('keys'), name);
  writeFileSync(
    file,
    certificates.reduce((so, [from, to]) => so.replaceAll(from, to), text),
  );
  return file;
}

const own = await TestAuthority.make('keys');
const pair = own.write(await own.authority.issue({ kind: 'nats', name: 'nats', hosts: [] }, 3_600_000, Date.now()));
const certificates: readonly (readonly [string, string])[] = [
  ['/etc/nats/certificate/nats.crt', pair.cert],
  ['/etc/nats/certificate/nats.key', pair.key],
  ['/etc/nats/authority/ca.crt', own.ca],
  ['/certs/own.crt', pair.cert],
  ['/certs/own.key', pair.key],
  ['/certs/ca.crt', own.ca],
];

const compose = programOfTrixie('docker-compose');
const kustomize = programOfTrixie('kustomize');
const noPromtool = needs('promtool --version', 'prometheus');

const promtool = (...args: readonly string[]): Pick<Check, 'skip' | 'refusal' | 'isSlow'> => ({
  skip: noPromtool,
  refusal: (text, file) => saidBy('promtool', ['check', ...args, placed(text, basename(file))]),
  isSlow: true,
});

const closed = (form: z.ZodType): Check => ({
  misspelt: yaml(),
  refusal: (text) => form.safeParse(text.startsWith('{') ? JSON.parse(text) : parse(text)).error?.message ?? '',
});

const CHECKS: Partial<Record<DeployedKind, Check>> = {
  compose: {
    skip: compose.missing,
    misspelt: yaml(under(/^(services|volumes|networks|x-.*|services\.[^.]+\.(environment|depends_on))$/)),
    refusal: (text, file) => saidBy(compose.path, ['-f', placed(text, file), 'config', '--quiet']),
    isSlow: true,
  },
  natsServer: {
    skip: needsNats(),
    misspelt: misspeltNats,
    refusal: (text, file) => {
      const env = { POD_NAME: 'nats', SERVER_NAME: 'nats' };
      return saidBy(natsProgram().program, ['-t', '-c', placed(text, basename(file))], env);
    },
  },
  prometheus: { ...promtool('config', '--syntax-only'), misspelt: yaml() },
  prometheusWeb: { ...promtool('web-config'), misspelt: yaml() },
  prometheusRules: { ...promtool('rules'), misspelt: yaml(under(/\.(labels|annotations)$/)) },
  grafanaDatasources: closed(datasourcesForm),
  grafanaProviders: closed(providersForm),
  grafanaDashboard: closed(dashboardForm),
  roles: {
    misspelt: yaml(under(/^roles$/)),
    refusal: (text) => {
      try {
        parseRoles(text);
        return '';
      } catch (cause) {
        return (cause as Error).message;
      }
    },
  },
  kustomization: {
    skip: kustomize.missing,
    misspelt: yaml(under(/\.pairs$/)),
    refusal: refusedByKustomize,
    isSlow: true,
  },
};

/** What kustomizations name and operators make. */
const MADE = [
  'certs/ca.crt',
  'certs/ca.key',
  'certs/broker.crt',
  'certs/broker.key',
  'certs/nats.crt',
  'certs/nats.key',
];
const FOLDER = 'deploy/kubernetes';
let copy: string | undefined;

function refusedByKustomize(text: string, file: string): string {
  if (copy === undefined) {
    copy = join(scratchDirectory('kustomize'), 'kubernetes');
    cpSync(FOLDER, copy, { recursive: true });
    for (const each of filesOf('kustomization')) {
      const folder = join(copy, relative(FOLDER, dirname(each)));
      mkdirSync(join(folder, 'certs'), { recursive: true });
      for (const name of [...MADE, 'jwks.json']) writeFileSync(join(folder, name), 'made');
    }
  }
  const at = join(copy, relative(FOLDER, file));
  const whole = readFileSync(at);
  writeFileSync(at, text);
  try {
    return saidBy(kustomize.path, ['build', dirname(at)]);
  } finally {
    writeFileSync(at, whole);
  }
}

test('each file that is deployed is checked by somebody who knows its keys', () => {
  const elsewhere: readonly (DeployedKind | undefined)[] = ['unit', 'manifest', 'keyless'];
  const unchecked = DEPLOYED.filter((file) => {
    const kind = kindOf(file);
    return kind === undefined || (CHECKS[kind] === undefined && !elsewhere.includes(kind));
  });
  assert.deepEqual(unchecked, []);
});

for (const [kind, { skip = false, misspelt, refusal, isSlow = false }] of Object.entries(CHECKS)) {
  test(`a misspelt key is refused: ${kind}`, { skip }, () => {
    for (const file of filesOf(kind as DeployedKind)) {
      const text = readFileSync(file, 'utf8');
      assert.equal(refusal(text, file), '', file);
      const tried = new Set<string>();
      for (const { key, where, kind, text: wrong } of misspelt(text)) {
        if (isSlow && !IS_LONG && tried.has(kind)) continue;
        tried.add(kind);
        // Some say first that the key which is not there has to be.
        assert.match(refusal(wrong, file), new RegExp(`${MISSPELT}|\\b${key}\\b`), `${file}: ${where}`);
      }
      assert.ok(tried.size > 2, file);
    }
  });
}
