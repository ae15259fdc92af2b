/** Settings as flags of a command, and the configuration that results from flags, environment and file. */
import { type Command, Option } from 'commander';
import { metavariable } from '../config/metavariables.js';
import { flagName, SETTINGS, type SettingKey } from '../config/settings.js';
import { type Config, loadConfig } from '../config.js';
import { safeText } from './render/text.js';

/** Adds one flag per key and `--config`. */
export function addSettingFlags(command: Command, keys: readonly SettingKey[]): void {
  for (const key of keys) command.addOption(settingOption(key));
  command.option('--config <file>', 'YAML file of settings (BACKPLANE_CONFIG)');
}

/** The configuration in force for this command; warnings go to stderr. @throws BackplaneError invalid_argument */
export async function commandConfig(command: Command, keys: readonly SettingKey[]): Promise<Config> {
  // A command with subcommands also takes their flags, wherever they stand.
  const options = command.optsWithGlobals<Record<string, unknown>>();
  const given = (name: string) => command.getOptionValueSourceWithGlobals(name) === 'cli';
  const flags: Partial<Record<SettingKey, string>> = {};
  for (const key of keys) {
    const name = settingOption(key).attributeName();
    if (given(name)) flags[key] = String(options[name]);
  }
  const file = options.config === undefined ? undefined : String(options.config);
  const config = await loadConfig({ flags, environment: process.env, file });
  for (const warning of config.warnings) process.stderr.write(`backplane: ${safeText(warning)}\n`);
  return config;
}

function settingOption(key: SettingKey): Option {
  const setting = SETTINGS[key];
  const { summary, fallback } = setting;
  // A flag without a value: its name says what it sets.
  if (key === 'insecure' || key === 'broker.token') return new Option(flagName(key), summary);
  // agent.profiles lists its choices in the summary, so they are not repeated.
  const choices = 'choices' in setting && key !== 'agent.profiles' ? [`one of ${setting.choices.join(', ')}`] : [];
  const standard = fallback === '' || key === 'node.name' ? [] : [`default ${fallback}`];
  const facts = [...choices, ...standard].join('; ');
  const option = new Option(
    `${flagName(key)} <${metavariable(key)}>`,
    facts === '' ? summary : `${summary} (${facts})`,
  );
  // Lists may be given one by one as well as comma-separated.
  if ('list' in setting)
    option.argParser((value, before?: string) => (before === undefined ? value : `${before},${value}`));
  return option;
}
