/**
 * Who may do what, as files say it: issued tokens and roles. Each is read again when it changes; what is granted counts
 * once it is on record, what is taken away in any case, and who may no longer have what they get is ended.
 */
import type { Logger } from 'pino';
import { type IssuedToken, IssuedTokens, parseTokens } from '../../access/issued-tokens.js';
import { tokensFile } from '../../access/tokens-file.js';
import { ROLES_BYTES_MAX, TOKENS_BYTES_MAX } from '../../limits.js';
import { WatchedFile } from '../../storage/watched-file.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import { AccessControl } from './access-control.js';
import { Gate } from './gate.js';
import { lessened } from './lessened.js';
import { isRevoked } from './revoked.js';
import { NO_ROLES, type Policy, parseRoles } from './roles.js';
import type { BrokerToken } from './token-file.js';
import { SignedWebTokens, type WebTokenOptions } from './web-tokens.js';

export interface AccessOptions {
  readonly dataDir: string;
  /** Undefined: no call wants a token. */
  readonly token: BrokerToken | undefined;
  /** '': `tokens.yaml` in the data directory, if there is one. */
  readonly tokensFile: string;
  /** '': nobody but the holder of the broker's own token and agents with certificates may anything. */
  readonly rolesFile: string;
  /** Undefined: none are taken. */
  readonly webTokens: WebTokenOptions | undefined;
  readonly trail: AuditTrail;
  readonly logger: Logger;
}

export class AccessFiles {
  readonly gate: Gate;
  readonly control: AccessControl;
  readonly #tokens: WatchedFile<IssuedTokens>;
  readonly #roles: WatchedFile<Policy> | undefined;
  readonly #webTokens: SignedWebTokens | undefined;
  /** Whose last change is not on record. */
  readonly #unrecorded = new Set<string>();
  #onChange: () => void = () => undefined;
  #onLook: () => void = () => undefined;

  /** @throws BackplaneError invalid_argument for a file that is named and cannot be read, or is not valid. */
  constructor({ dataDir, token, tokensFile: named, rolesFile, webTokens, trail, logger }: AccessOptions) {
    const common = {
      onChange: (file: string) => this.#recordReload(file, trail),
      onApplied: () => this.#onChange(),
      warn: (message: string) => logger.error(message),
    };
    this.#tokens = new WatchedFile({
      ...common,
      path: tokensFile(named, dataDir),
      bytesMax: TOKENS_BYTES_MAX,
      parse: (text) => new IssuedTokens(parseTokens(text, Date.now())),
      lessened: (before, after) => before.only(after),
      ...(named === '' ? { absent: new IssuedTokens([] as readonly IssuedToken[]) } : {}),
    });
    this.#roles =
      rolesFile === ''
        ? undefined
        : new WatchedFile({ ...common, path: rolesFile, bytesMax: ROLES_BYTES_MAX, parse: parseRoles, lessened });
    this.#webTokens = webTokens && new SignedWebTokens(webTokens, common.warn, common.onChange);
    this.gate = new Gate({
      token,
      issued: this.#tokens,
      webTokens: this.#webTokens,
      isRevoked: (identity) => isRevoked(this.#policy.revoked, identity),
      onRefused: (peer, reason, { code, message }) => {
        trail.refuse({ action: 'authenticate', peer: `${peer}:0`, reason, code, refused: message });
      },
      logger,
    });
    this.control = new AccessControl(
      () => this.#policy,
      trail,
      (identity) => this.gate.holds(identity),
    );
  }

  get #policy(): Policy {
    return this.#roles?.value ?? NO_ROLES;
  }

  /**
   * @param onChange called after every change that counts
   * @param onLook called about once a second: credentials end by themselves, too
   */
  listen(onChange: () => void, onLook: () => void): void {
    this.#onChange = onChange;
    this.#onLook = onLook;
  }

  /** Call this about once a second. */
  look(): void {
    void this.#tokens.look();
    void this.#roles?.look();
    this.#webTokens?.look();
    this.#onLook();
  }

  /** Reads the files again; false when there are none. */
  reload(): boolean {
    const hasTokens = this.#tokens.exists;
    if (hasTokens) void this.#tokens.reload();
    void this.#roles?.reload();
    return hasTokens || this.#roles !== undefined;
  }

  /** Rejects when the audit cannot be written: then only what the change takes away counts, and it is missed once. */
  async #recordReload(file: string, trail: AuditTrail): Promise<void> {
    try {
      await trail.record({ action: 'reload', peer: '', file });
      this.#unrecorded.delete(file);
    } catch (cause) {
      if (!this.#unrecorded.has(file)) trail.dropped++;
      this.#unrecorded.add(file);
      throw cause;
    }
  }

  close(): void {
    this.gate.close();
  }
}
