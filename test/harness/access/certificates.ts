/** An authority and what it signs, as files in a directory of their own. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Authority, type Holder, newAuthority } from '../../../src/access/authority.js';
import type { TlsFiles } from '../../../src/broker/access/tls/server-tls.js';
import { scratchDirectory } from '../files/scratch-directory.js';

const HOUR_MS = 3_600_000;
const MONTH_MS = 30 * 24 * HOUR_MS;
const LOOPBACK: Holder = { kind: 'broker', name: 'broker', hosts: ['localhost', '127.0.0.1', '::1'] };

export interface Pair {
  /** PEM files. */
  readonly cert: string;
  readonly key: string;
}

export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

export class TestAuthority {
  readonly dir: string;
  readonly authority: Authority;
  #count = 0;

  private constructor(dir: string) {
    this.dir = dir;
    this.authority = new Authority(join(dir, 'ca.crt'), join(dir, 'ca.key'));
  }

  static async make(name = 'test'): Promise<TestAuthority> {
    const dir = scratchDirectory(`ca-${name}`);
    const { cert, key } = await newAuthority(name, Date.now());
    writeFileSync(join(dir, 'ca.crt'), cert);
    writeFileSync(join(dir, 'ca.key'), key);
    return new TestAuthority(dir);
  }

  get ca(): string {
    return join(this.dir, 'ca.crt');
  }

  get caKey(): string {
    return join(this.dir, 'ca.key');
  }

  /** A broker's certificate that asks clients for theirs, in files. */
  async broker(hosts = LOOPBACK.hosts): Promise<TlsFiles & Pair> {
    const pair = this.write(await this.authority.issue({ ...LOOPBACK, hosts }, MONTH_MS, Date.now()));
    return { ...pair, clientCa: this.ca };
  }

  brokerPem(hosts = LOOPBACK.hosts): Promise<PemPair> {
    return this.authority.issue({ ...LOOPBACK, hosts }, MONTH_MS, Date.now());
  }

  /** `fromMs`: when it begins, in milliseconds from now. */
  clientPem(name: string, kind: 'client' | 'node' = 'client', fromMs = 0): Promise<PemPair> {
    return this.authority.issue({ kind, name, hosts: [] }, HOUR_MS, Date.now() + fromMs);
  }

  async client(name: string, kind: 'client' | 'node' = 'client'): Promise<Pair> {
    return this.write(await this.clientPem(name, kind));
  }

  write(pem: PemPair): Pair {
    const at = join(this.dir, `pair-${++this.#count}`);
    writeFileSync(`${at}.crt`, pem.cert);
    writeFileSync(`${at}.key`, pem.key, { mode: 0o600 });
    return { cert: `${at}.crt`, key: `${at}.key` };
  }
}

/** Replaces a file as careful programs do. */
export function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.aside`, text);
  renameSync(`${path}.aside`, path);
}
