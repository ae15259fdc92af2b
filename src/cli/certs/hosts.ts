/** The names and addresses under which a broker is reached, which its certificate must have. */
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { BackplaneError } from '../../errors.js';
import { CERTIFICATE_HOSTS_MAX } from '../../limits.js';

export interface HostOptions {
  readonly name: readonly string[];
  readonly address: readonly string[];
}

/** Reached from the machine itself, as by the agent of `up`. */
const OWN = ['localhost', '127.0.0.1', '::1'];
const HOST =
  /^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

export function addHostOptions(command: Command): void {
  const gather = (value: string, before: readonly string[]) => [...before, ...value.split(',')];
  command
    .option('--name <host>', "a broker's host name (again, or comma-separated; default: this machine's)", gather, [])
    .option('--address <ip>', 'an address of the broker (likewise)', gather, []);
}

/** Those given, or this machine's name; and those of the machine itself. @throws BackplaneError invalid_argument */
export function hostsOf({ name, address }: HostOptions): readonly string[] {
  for (const host of name) if (host.length > 253 || !HOST.test(host)) throw refusal('--name', 'a host name', host);
  for (const ip of address) if (isIP(ip) === 0) throw refusal('--address', 'an IP address', ip);
  const given = [...name, ...address];
  const hosts = [...new Set([...(given.length === 0 ? [hostname()] : given), ...OWN])];
  if (hosts.length <= CERTIFICATE_HOSTS_MAX) return hosts;
  throw new BackplaneError(
    'invalid_argument',
    `a certificate has at most ${CERTIFICATE_HOSTS_MAX} hosts, got ${hosts.length}`,
  );
}

function refusal(flag: string, form: string, value: string): BackplaneError {
  return new BackplaneError('invalid_argument', `${flag} must be ${form}, got ${JSON.stringify(value.slice(0, 80))}`);
}
