/** Whoever operates nats-servers by JWTs: an operator, its accounts, and credentials of users, as nsc makes them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nkeys } from 'nats';
import { scratchDirectory } from '../files/scratch-directory.js';

type KeyPair = ReturnType<typeof nkeys.createUser>;

const ANY = -1;
const LIMITS = { subs: ANY, data: ANY, payload: ANY };
const ACCOUNT_LIMITS = { ...LIMITS, imports: ANY, exports: ANY, wildcards: true, conn: ANY, leaf: ANY };
const JETSTREAM_LIMITS = { mem_storage: ANY, disk_storage: ANY, streams: ANY, consumer: ANY };

export class NatsOperator {
  readonly #operator = nkeys.createOperator();
  readonly #system = nkeys.createAccount();
  readonly #account = nkeys.createAccount();
  readonly #dir = scratchDirectory('operator');

  /** Lines of a server's configuration: it takes users of one account, which may use JetStream. */
  get settings(): string {
    const [operator, system, account] = [this.#operator, this.#system, this.#account];
    const preloaded = [
      `${system.getPublicKey()}: "${this.#ofAccount(system, ACCOUNT_LIMITS)}"`,
      `${account.getPublicKey()}: "${this.#ofAccount(account, { ...ACCOUNT_LIMITS, ...JETSTREAM_LIMITS })}"`,
    ];
    return [
      `operator: "${signed(operator, operator, { type: 'operator' })}"`,
      `system_account: ${system.getPublicKey()}`,
      'resolver: MEMORY',
      `resolver_preload: { ${preloaded.join(', ')} }`,
    ].join('\n');
  }

  /** A file of credentials of a new user of the account, or of one that no server knows. */
  credentials(name: string, account = this.#account): string {
    const user = nkeys.createUser();
    const jwt = signed(user, account, { type: 'user', pub: {}, sub: {}, ...LIMITS });
    const seed = new TextDecoder().decode(user.getSeed());
    const file = join(this.#dir, `${name}.creds`);
    const part = (what: string, text: string) => `-----BEGIN ${what}-----\n${text}\n------END ${what}------\n`;
    writeFileSync(file, `${part('NATS USER JWT', jwt)}\n${part('USER NKEY SEED', seed)}`);
    return file;
  }

  /** Of a user whose account this operator did not sign. */
  strange(name: string): string {
    return this.credentials(name, nkeys.createAccount());
  }

  #ofAccount(account: KeyPair, limits: object): string {
    return signed(account, this.#operator, { type: 'account', limits, default_permissions: { pub: {}, sub: {} } });
  }
}

/** A JWT, version 2, about the holder of a key. */
function signed(of: KeyPair, by: KeyPair, nats: object): string {
  const claims = {
    jti: of.getPublicKey(),
    iat: Math.floor(Date.now() / 1000),
    iss: by.getPublicKey(),
    sub: of.getPublicKey(),
    name: 'test',
    nats: { ...nats, version: 2 },
  };
  const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const text = `${encoded({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encoded(claims)}`;
  return `${text}.${Buffer.from(by.sign(Buffer.from(text))).toString('base64url')}`;
}
