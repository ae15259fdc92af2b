/** Every file that is deployed, by who knows its keys. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A file is of the first kind that it matches. */
const KINDS = {
  compose: /^docker-compose\.yml$/,
  natsServer: /\/nats\.conf$/,
  prometheus: /^deploy\/(docker|prometheus)\/prometheus\.yaml$/,
  prometheusWeb: /^deploy\/docker\/prometheus-web\.yaml$/,
  prometheusRules: /^deploy\/prometheus\/.*\.rules\.yaml$/,
  grafanaDatasources: /^deploy\/grafana\/provisioning\/datasources\/.*\.yaml$/,
  grafanaProviders: /^deploy\/grafana\/provisioning\/dashboards\/.*\.yaml$/,
  grafanaDashboard: /^deploy\/grafana\/[^/]*\.json$/,
  roles: /\/roles\.yaml$/,
  unit: /^deploy\/systemd\/.*\.(service|conf)$/,
  kustomization: /^deploy\/kubernetes\/.*\/kustomization\.yaml$/,
  manifest: /^deploy\/kubernetes\/.*\.yaml$/,
  // Commands, and lists of files.
  keyless: /\/(Dockerfile|Dockerfile\.dockerignore|\.gitignore|[^/]*\.sh)$/,
} as const;

export type DeployedKind = keyof typeof KINDS;

export const DEPLOYED: readonly string[] = [
  'docker-compose.yml',
  ...readdirSync('deploy', { recursive: true, encoding: 'utf8' }).map((name) => join('deploy', name)),
].filter((name) => statSync(name).isFile());

/** Undefined: nothing knows its keys. */
export function kindOf(file: string): DeployedKind | undefined {
  return (Object.keys(KINDS) as DeployedKind[]).find((kind) => KINDS[kind].test(file));
}

/** Throws where there is none: then whoever checks them would check nothing. */
export function filesOf(kind: DeployedKind): readonly string[] {
  const files = DEPLOYED.filter((file) => kindOf(file) === kind);
  if (files.length === 0) throw new Error(`no file of the kind ${kind} is deployed`);
  return files;
}
