/** Identities for a broker under test: tokens in a file, and roles beside it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type IssuedToken, issueToken, tokensText } from '../../../src/access/issued-tokens.js';
import { scratchDirectory } from '../files/scratch-directory.js';

export class Identities {
  readonly #dir = scratchDirectory('access');
  readonly tokensFile = join(this.#dir, 'tokens.yaml');
  readonly rolesFile = join(this.#dir, 'roles.yaml');
  readonly #entries: IssuedToken[] = [];
  readonly #tokens = new Map<string, string>();

  /** Writes the files, with a token for each name. */
  constructor(roles: string, names: readonly string[]) {
    this.write(roles);
    for (const name of names) this.issue(name);
  }

  /** For a broker's options. */
  get files() {
    return { rolesFile: this.rolesFile, tokensFile: this.tokensFile };
  }

  write(roles: string): void {
    writeFileSync(this.rolesFile, roles);
  }

  issue(name: string, holdsMs = 3_600_000): string {
    const nowMs = Date.now();
    const { token, entry } = issueToken([], name, nowMs + holdsMs, nowMs);
    this.#entries.push(entry);
    this.#tokens.set(name, token);
    this.#save();
    return token;
  }

  revoke(name: string): void {
    const kept = this.#entries.filter(({ identity }) => identity !== name);
    this.#entries.splice(0, this.#entries.length, ...kept);
    this.#save();
  }

  /** The newest one. */
  token(name: string): string {
    const token = this.#tokens.get(name);
    if (token === undefined) throw new Error(`no token was issued to ${name}`);
    return token;
  }

  #save(): void {
    writeFileSync(this.tokensFile, tokensText(this.#entries, false));
  }
}
