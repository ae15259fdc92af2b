/**
 * Which token an agent or a command sends to a broker: BACKPLANE_TOKEN, else
 * the file that token.file (BACKPLANE_TOKEN_FILE) names, else DATA_DIR/token,
 * else that of the broker which this user runs at that address. Where the data
 * directory is the default one, `./data` of wherever the command was typed, the
 * broker's note knows better and is asked first.
 */
import { join } from 'node:path';
import { checkToken, readTokenFile } from './token.js';
import { notedTokenFile, runtimeDirectory } from './token-note.js';

export const TOKEN_FILE_NAME = 'token';

export interface Credential {
  readonly token: string;
  /** Where it came from, for people. */
  readonly from: string;
}

/** By the address of the broker, host:port. Read anew each time: brokers get other tokens. */
export type CredentialFor = (broker: string) => Credential | undefined;

export interface TokenSources {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** '' when none is named. */
  readonly tokenFile: string;
  readonly dataDir: string;
  /** The data directory was named, by whichever way. */
  readonly dataDirGiven: boolean;
}

/** The result throws BackplaneError invalid_argument when what was named explicitly holds no token. */
export function tokenLookup({ environment, tokenFile, dataDir, dataDirGiven }: TokenSources): CredentialFor {
  return (broker) => {
    const inEnvironment = environment.BACKPLANE_TOKEN;
    if (inEnvironment) return { token: checkToken('BACKPLANE_TOKEN', inEnvironment), from: 'BACKPLANE_TOKEN' };
    if (tokenFile !== '') return { token: readTokenFile(tokenFile).token, from: tokenFile };
    const runtimeDir = runtimeDirectory(environment);
    const noted = runtimeDir === undefined ? undefined : notedTokenFile(runtimeDir, broker);
    const inDataDir = join(dataDir, TOKEN_FILE_NAME);
    for (const path of dataDirGiven ? [inDataDir, noted] : [noted, inDataDir]) {
      const token = path === undefined ? undefined : readable(path);
      if (path !== undefined && token !== undefined) return { token, from: path };
    }
    return undefined;
  };
}

/** Nobody has said that it must be there: without it the broker says where its token is. */
function readable(path: string): string | undefined {
  try {
    return readTokenFile(path).token;
  } catch {
    return undefined;
  }
}
