/**
 * Finds the token that an agent or a command sends to a broker: BACKPLANE_TOKEN, else the file that token.file
 * (BACKPLANE_TOKEN_FILE) names, else DATA_DIR/token, else the token of the broker that this user runs at that address.
 * If the data directory is the default, `./data` of the current directory, the broker's note is asked first, because it
 * is more reliable.
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

/** The credential for a broker at host:port. Read anew each time, because a broker's token may change. */
export type CredentialFor = (broker: string) => Credential | undefined;

export interface TokenSources {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** '' when none is named. */
  readonly tokenFile: string;
  readonly dataDir: string;
  /** The data directory was named explicitly, in any way. */
  readonly dataDirGiven: boolean;
}

/** The returned function throws BackplaneError invalid_argument when an explicitly named source holds no token. */
export function tokenLookup({ environment, tokenFile, dataDir, dataDirGiven }: TokenSources): CredentialFor {
  return (broker) => {
    const inEnvironment = environment.BACKPLANE_TOKEN;
    if (inEnvironment) return { token: checkToken('BACKPLANE_TOKEN', inEnvironment), from: 'BACKPLANE_TOKEN' };
    if (tokenFile !== '') return { token: readTokenFile(tokenFile).token, from: tokenFile };
    const inDataDir = () => readable(join(dataDir, TOKEN_FILE_NAME));
    const noted = () => notedCredential(environment, broker);
    return dataDirGiven ? (inDataDir() ?? noted()) : (noted() ?? inDataDir());
  };
}

/** The token of the broker that this user runs at host:port. */
export function notedCredential(environment: TokenSources['environment'], broker: string): Credential | undefined {
  const runtimeDir = runtimeDirectory(environment);
  const noted = runtimeDir === undefined ? undefined : notedTokenFile(runtimeDir, broker);
  return noted === undefined ? undefined : readable(noted);
}

/**
 * The token if the file is readable. It need not exist: a call without a token gets an error that says where the token
 * is.
 */
function readable(path: string): Credential | undefined {
  try {
    return { token: readTokenFile(path).token, from: path };
  } catch {
    return undefined;
  }
}
