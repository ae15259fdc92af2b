/** `backplane config`: the configuration in force as YAML, each value with where it comes from. */
import type { Command } from 'commander';
import { isNode, isSeq, parseDocument, stringify } from 'yaml';
import { type ClustersSetting, clustersData } from '../config/clusters-data.js';
import { SETTING_KEYS, SETTINGS, type SettingKey, settingText } from '../config/settings.js';
import type { Config } from '../config.js';
import { addSettingFlags, commandConfig } from './setting-flags.js';

export function define(command: Command): void {
  addSettingFlags(command, SETTING_KEYS);
  command.action(async () => {
    const { BACKPLANE_TOKEN: token } = process.env;
    const config = await commandConfig(command, SETTING_KEYS);
    const secrets = [
      token ? '# BACKPLANE_TOKEN is set in the environment, and sent to brokers: it is not shown here\n' : '',
      [...config.settings.clusters.values()].some((cluster) => cluster.token !== '')
        ? '# clusters have tokens: these are not shown here\n'
        : '',
    ];
    process.stdout.write(`${secrets.join('')}${configYaml(config)}`);
  });
}

/** YAML that, given as --config, results in the same configuration, but for tokens of clusters. */
export function configYaml(config: Config): string {
  const tree: Record<string, unknown> = {};
  for (const key of SETTING_KEYS) setAt(tree, key.split('.'), yamlValue(config, key));
  const document = parseDocument(stringify(tree));
  for (const key of SETTING_KEYS) {
    const node = document.getIn(key.split('.'), true);
    if (isSeq(node)) node.flow = true;
    if (isNode(node)) node.comment = ` ${config.origins[key].origin}`;
  }
  return document.toString({ lineWidth: 0 });
}

function yamlValue(config: Config, key: SettingKey): unknown {
  if (key === 'clusters') return clustersData(withoutTokens(config.settings.clusters));
  const value = config.settings[key];
  if (typeof value === 'boolean') return value;
  if ('list' in SETTINGS[key] || 'data' in SETTINGS[key]) return value;
  const text = settingText(key, value as never);
  return /^\d+$/.test(text) ? Number(text) : text;
}

function withoutTokens(clusters: ClustersSetting): ClustersSetting {
  return new Map(Array.from(clusters, ([name, cluster]) => [name, { ...cluster, token: '' }]));
}

function setAt(tree: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [name = '', ...rest] = path;
  if (rest.length === 0) {
    tree[name] = value;
    return;
  }
  tree[name] ??= {};
  setAt(tree[name] as Record<string, unknown>, rest, value);
}
