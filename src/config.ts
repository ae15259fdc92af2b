/**
 * The configuration in force. A value comes from a flag, else the environment (`BACKPLANE_` and the key in capitals), else the
 * YAML file, else the default; all four are the same text, so one parser
 * checks them all. Parsed once into a readonly value that knows where each
 * part came from.
 */
import {
  environmentName,
  flagName,
  SETTING_KEYS,
  SETTINGS,
  type SettingKey,
  type Settings,
} from './config/settings.js';
import { BackplaneError } from './errors.js';
import { suggestion } from './text/nearest.js';

export interface Config {
  readonly settings: Settings;
  /** For each key the text it was parsed from and a phrase that says where that came from. */
  readonly origins: Readonly<Record<SettingKey, { readonly text: string; readonly origin: string }>>;
  /** A line for each variable that looks like a setting and is none. */
  readonly warnings: readonly string[];
}

export interface ConfigSources {
  /** Text of each flag that was given, by key. */
  readonly flags: Partial<Readonly<Record<SettingKey, string>>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `--config`; else BACKPLANE_CONFIG names the file, else there is none. */
  readonly file?: string | undefined;
}

/** @throws BackplaneError invalid_argument: one line with the key, the bound, the value and where it came from. */
export async function loadConfig(sources: ConfigSources): Promise<Config> {
  const path = sources.file ?? (sources.environment.BACKPLANE_CONFIG || undefined);
  // The parser of YAML is loaded only where there is a file.
  const file = path === undefined ? {} : (await import('./config/file.js')).readConfigFile(path);
  const settings: Partial<Record<SettingKey, unknown>> = {};
  const origins: Partial<Record<SettingKey, { text: string; origin: string }>> = {};
  for (const key of SETTING_KEYS) {
    const found = find(key, sources, file, path);
    settings[key] = await parseSetting(key, found.text, found.origin);
    origins[key] = found;
  }
  return {
    settings: settings as Settings,
    origins: origins as Config['origins'],
    warnings: unknownVariables(sources.environment),
  };
}

/** What Kubernetes sets for a service whose name begins with "backplane". */
const SERVICE_LINK = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

/** Warned of, not refused: the variable may be another program's. */
function unknownVariables(environment: ConfigSources['environment']): string[] {
  const known = [
    'BACKPLANE_CONFIG',
    'BACKPLANE_TOKEN',
    'BACKPLANE_JOIN_TOKEN',
    'BACKPLANE_JOIN_TOKEN_FILE',
    ...SETTING_KEYS.map(environmentName),
  ];
  return Object.keys(environment)
    .filter((name) => name.startsWith('BACKPLANE_') && !known.includes(name) && !SERVICE_LINK.test(name))
    .map((name) => `unknown variable ${name} in the environment${suggestion(name, known)}`);
}

function find(key: SettingKey, sources: ConfigSources, file: Record<string, string>, path: string | undefined) {
  const flag = sources.flags[key];
  if (flag !== undefined) return { text: flag, origin: `flag ${flagName(key)}` };
  const variable = sources.environment[environmentName(key)];
  // An empty variable is how shells and compose files say "not set".
  if (variable !== undefined && variable !== '')
    return { text: variable, origin: `environment ${environmentName(key)}` };
  const entry = Object.hasOwn(file, key) ? file[key] : undefined;
  if (entry !== undefined) return { text: entry, origin: `file ${path}` };
  return { text: SETTINGS[key].fallback, origin: 'default' };
}

async function parseSetting(key: SettingKey, text: string, origin: string): Promise<unknown> {
  try {
    return await SETTINGS[key].parse(text);
  } catch (thrown) {
    if (!(thrown instanceof BackplaneError)) throw thrown;
    const where = origin === 'default' ? `the default; set ${flagName(key)}` : origin;
    const shown = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
    const got = 'secret' in SETTINGS[key] ? '' : `, got ${shown}`;
    throw new BackplaneError('invalid_argument', `${key} ${thrown.message}${got} (${where})`, { field: key });
  }
}
